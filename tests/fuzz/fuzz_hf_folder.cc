// A Hugging Face folder (folder_parts.h). Where none of its files holds weights, those of a small
// LLaMA are there, so that a config.json alone goes far.
#include <algorithm>
#include <string>

#include "formats/convert/convert.h"
#include "tests/fuzz/folder_parts.h"
#include "tests/fuzz/fuzz_samples.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"
#include "tests/test_util.h"

namespace glint::fuzz {

void FuzzHfFolder(Input input) {
  const std::string folder = Folder() + "/hf";
  const std::vector<std::string> names = WriteParts(Text(input), folder);
  const bool has_weights = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find("model.safe") != name.npos || name.find("model.bin") != name.npos;
  });
  if (!has_weights) {
    static const std::string weights = TinySafetensors(TinyModel("llama"));
    WriteFile(folder + "/model.safetensors", weights);
  }
  ConvertOptions options;
  options.source = folder;
  options.write.threads = 1;
  options.search = false;
  const auto memory = ConvertToMemory(options);
  RunModel(*Model::FromMemory(memory->data(), memory->bytes(), "x", memory));
}

}  // namespace glint::fuzz
