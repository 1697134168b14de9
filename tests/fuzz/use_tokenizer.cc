#include "tests/fuzz/use_tokenizer.h"

#include <cstdint>
#include <vector>

#include "lib/text/utf8.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

constexpr const char* kText =
    "Hello, w\xC3\xB6rld 12 \xE4\xBD\xA0\xE5\xA5\xBD\n\xF0\x9F\x98\x80 \xFF<|x|>\t";

void CheckIds(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) {
    Require(id >= 0 && static_cast<size_t>(id) < tokenizer.size(), "ids are below size()");
  }
  Require(IsUtf8(tokenizer.Decode(ids)), "decoding gives UTF-8");
}

}  // namespace

void UseTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  for (const std::string_view each : {text, std::string_view(kText)}) {
    CheckIds(tokenizer, tokenizer.Encode(each));
    CheckIds(tokenizer, tokenizer.EncodeParsed(each));
    CheckIds(tokenizer, tokenizer.EncodePlain(each));
    CheckIds(tokenizer, tokenizer.EncodeWithSpecial(each));
  }
  std::vector<int32_t> a, b;
  if (tokenizer.EncodePair(text, kText, &a, &b)) Require(a.size() == b.size(), "a pair's lists");
  tokenizer.FindToken(kText);
  const auto n = static_cast<int32_t>(tokenizer.size());
  const std::vector<int32_t> odd = {-1, 0, 1, 2, n / 2, n - 1, n, INT32_MAX, INT32_MIN};
  Require(IsUtf8(tokenizer.Decode(odd)), "decoding gives UTF-8");
}

}  // namespace glint::fuzz
