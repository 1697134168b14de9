#include "examples/commands/adapters.h"

#include <charconv>
#include <cmath>

#include "examples/commands/import_side.h"
#include "lib/adapter_set.h"

namespace glint {
namespace {

struct AdapterName {
  std::string path;
  float scale = 1;
};

// What follows the last "=" is a scale if it is a number; else it belongs to the name.
AdapterName ParseAdapter(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return {text};
  const char* const end = text.data() + text.size();
  float scale = 0;
  const auto [next, error] = std::from_chars(text.data() + equals + 1, end, scale);
  if (error != std::errc() || next != end || !std::isfinite(scale)) return {text};
  return {text.substr(0, equals), scale};
}

}  // namespace

void AddAdapterOption(CLI::App& app, ComputeOptions* options) {
  app.add_option("--adapter", options->adapters,
                 "a LoRA or a P-Tuning prefix: a .glint file, a PEFT folder, or THUDM's prefix\n"
                 "folder; with =SCALE a LoRA counts so much. May be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text("FILE[=SCALE]");
}

OpenAdapters OpenAdaptersOf(const Model& model, const ComputeOptions& options) {
  OpenAdapters open;
  for (const std::string& text : options.adapters) {
    const AdapterName name = ParseAdapter(text);
    const LoadMode mode = options.load == "copy" ? LoadMode::kCopy : LoadMode::kMap;
    const bool converted = IsCheckpoint(name.path);
    open.files.push_back(converted ? ImportAdapter(model, name.path, options.threads)
                                   : Adapter::Open(model, name.path, mode));
    open.uses.push_back({open.files.back().get(), name.scale});
    const AdapterBytes bytes = BytesOf(*open.files.back());
    open.bytes += bytes.file + bytes.made;
    open.private_bytes += bytes.made + (converted || mode == LoadMode::kCopy ? bytes.file : 0);
  }
  return open;
}

std::unique_ptr<GlintFile> OpenAdapterFile(const std::string& path) {
  if (path == kBuiltinName || IsCheckpoint(path)) return nullptr;
  std::unique_ptr<GlintFile> file = GlintFile::Open(path);
  return AdapterKindOf(*file).empty() ? nullptr : std::move(file);
}

}  // namespace glint
