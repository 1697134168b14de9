// A GGUF file as a model: converted in memory, as `glint run` does, and run for some tokens.
#include "formats/convert/convert.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

void FuzzGgufModel(Input input) {
  ConvertOptions options;
  options.source = AsFile(input, "x.gguf");
  options.write.threads = 1;
  options.search = false;
  const auto memory = ConvertToMemory(options);
  RunModel(*Model::FromMemory(memory->data(), memory->bytes(), "x", memory));
}

}  // namespace glint::fuzz
