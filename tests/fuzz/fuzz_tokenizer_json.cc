// tokenizer.json, and the tokenizer that it makes.
#include "formats/import/imported_tokenizer.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace glint::fuzz {

void FuzzTokenizerJson(Input input) {
  const std::string path = AsFile(input, "tokenizer.json");
  auto model = ReadTokenizerFile(path, {"", 0});
  UseTokenizer(*LoadTokenizer(std::move(model), path)->tokenizer, Text(input).substr(0, 300));
}

}  // namespace glint::fuzz
