// A sentencepiece model; the first byte chooses whose rules stand around it.
#include <iterator>

#include "formats/import/imported_tokenizer.h"
#include "formats/import/sentencepiece.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace glint::fuzz {

void FuzzSentencePiece(Input input) {
  static constexpr const char* kRules[] = {"plain", "llama", "chatglm1", "chatglm2", "chatglm3"};
  Parts parts(input);
  const char* rules = kRules[parts.Byte() % std::size(kRules)];
  auto model = ParseSentencePiece(parts.Rest(), {rules, 0}, "x.model");
  UseTokenizer(*LoadTokenizer(std::move(model), "x.model")->tokenizer, Text(input).substr(0, 300));
}

}  // namespace glint::fuzz
