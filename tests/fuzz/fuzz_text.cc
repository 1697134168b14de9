// A text through tokenizers of each algorithm: encoding takes any bytes, decoding gives UTF-8, and
// where a vocabulary has every byte the text comes back. The first byte chooses the tokenizer.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/import/imported_tokenizer.h"
#include "formats/import/sentencepiece.h"
#include "lib/text/chat.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"
#include "tests/fuzz/fuzz_samples.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace glint::fuzz {
namespace {

std::vector<std::unique_ptr<LoadedTokenizer>> MakeTokenizers() {
  std::vector<std::unique_ptr<LoadedTokenizer>> tokenizers;
  tokenizers.push_back(LoadTokenizerJson(ByteBpeJson()));  // the first: has every byte
  for (const nlohmann::json& file : {WordPieceJson(), SentenceBpeJson()}) {
    tokenizers.push_back(LoadTokenizerJson(file));
  }
  for (const std::string& file : {SmallBpeModel(), SmallUnigramModel()}) {
    const Input bytes{reinterpret_cast<const uint8_t*>(file.data()), file.size()};
    tokenizers.push_back(LoadTokenizer(ParseSentencePiece(bytes, {}, "x.model"), "x.model"));
  }
  return tokenizers;
}

std::string Valid(std::string_view text) {
  std::string valid;
  AppendValid(text, &valid);
  return valid;
}

}  // namespace

void FuzzText(Input input) {
  static const auto tokenizers = MakeTokenizers();
  Parts parts(input);
  const size_t which = parts.Byte() % tokenizers.size();
  const Tokenizer& tokenizer = *tokenizers[which]->tokenizer;
  const std::string_view text = Text(parts.Rest());
  UseTokenizer(tokenizer, text);
  const std::vector<int32_t> ids = tokenizer.EncodePlain(text);
  const std::string decoded = tokenizer.Decode(ids);
  if (which == 0) Require(decoded == Valid(text), "a text comes back from its ids");
  Detokenizer detokenizer(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.Add(id);
    Require(IsUtf8(piece), "a streamed piece is UTF-8");
    streamed += piece;
  }
  Require(streamed + detokenizer.Finish() == decoded, "a stream is the text");
}

}  // namespace glint::fuzz
