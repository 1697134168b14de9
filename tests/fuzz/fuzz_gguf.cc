// The container of a GGUF file: keys, tensor table, every tensor's numbers; and its tokenizer.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "formats/import/chat_template.h"
#include "formats/import/gguf.h"
#include "formats/import/imported_tokenizer.h"
#include "lib/error.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace glint::fuzz {

void FuzzGguf(Input input) {
  const auto gguf = Gguf::Open(AsFile(input, "x.gguf"));
  for (const GgufTensor& tensor : gguf->tensors()) {
    Require(tensor.bytes <= input.size(), "a tensor is within the file");
    std::vector<uint8_t> raw(tensor.bytes);
    gguf->ReadRaw(tensor, 0, tensor.elements, raw.data());
    if (tensor.type->decode == nullptr) continue;
    const uint64_t part = std::min<uint64_t>(tensor.elements, tensor.type->block_elements * 8);
    std::vector<float> numbers(part);
    gguf->ReadF32(tensor, tensor.elements - part, part, numbers.data());
  }
  ChatPromptSection(gguf->metadata(), "x.gguf", {});
  auto tokenizer = ReadGgufTokenizer(*gguf);
  if (!tokenizer) return;
  UseTokenizer(*LoadTokenizer(std::move(*tokenizer), "x.gguf")->tokenizer, "a b");
}

}  // namespace glint::fuzz
