// A Hugging Face folder: an input is its files, each after a line "=== NAME". Where none of them
// holds weights, those of a small LLaMA are there, so that a config.json alone goes far.
#include <filesystem>
#include <string>

#include "formats/convert/convert.h"
#include "formats/import/input_file.h"
#include "lib/error.h"
#include "tests/fuzz/fuzz_samples.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/target.h"
#include "tests/test_util.h"

namespace glint::fuzz {
namespace {

constexpr std::string_view kMark = "=== ";
constexpr size_t kMostFiles = 8;

// Whether the name may be made in a folder of this machine.
bool CanBeMade(std::string_view name) {
  if (name.empty() || name.size() > 60) return false;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) return false;
  }
  return name != "." && name != "..";
}

void WriteParts(std::string_view input, const std::string& folder) {
  bool has_weights = false;
  for (size_t n = 0; n < kMostFiles && input.starts_with(kMark); ++n) {
    input.remove_prefix(kMark.size());
    const size_t line = std::min(input.find('\n'), input.size());
    const std::string_view name = input.substr(0, line);
    input.remove_prefix(std::min(line + 1, input.size()));
    const size_t next = input.find("\n" + std::string(kMark));
    const std::string_view body = input.substr(0, next);
    input.remove_prefix(next == input.npos ? input.size() : next + 1);
    if (!CanBeMade(name)) continue;
    WriteFile(folder + "/" + std::string(name), std::string(body));
    has_weights |= name.find("model.safe") != name.npos || name.find("model.bin") != name.npos;
  }
  if (has_weights) return;
  static const std::string weights = TinySafetensors(TinyModel("llama"));
  WriteFile(folder + "/model.safetensors", weights);
}

}  // namespace

void FuzzHfFolder(Input input) {
  const std::string folder = Folder() + "/hf";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  WriteParts(Text(input), folder);
  ConvertOptions options;
  options.source = folder;
  options.write.threads = 1;
  options.search = false;
  const auto memory = ConvertToMemory(options);
  RunModel(*Model::FromMemory(memory->data(), memory->bytes(), "x", memory));
}

}  // namespace glint::fuzz
