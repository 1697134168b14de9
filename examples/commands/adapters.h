#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "examples/commands/options.h"
#include "lib/adapter.h"

// --adapter FILE[=SCALE]: LoRAs and P-Tuning prefixes that go with a model.
namespace glint {

void AddAdapterOption(CLI::App& app, ComputeOptions* options);

// The adapters that the options name, open, in their order. To outlive the sessions that use them.
struct OpenAdapters {
  std::vector<std::unique_ptr<Adapter>> files;
  std::vector<AdapterUse> uses;
  uint64_t bytes = 0;          // that they take, however many sessions use them
  uint64_t private_bytes = 0;  // of these: not mapped
};
// .glint files; a PEFT folder or THUDM's prefix folder is converted into memory. Throws Error.
OpenAdapters OpenAdaptersOf(const Model& model, const ComputeOptions& options);

// The open file if it is an adapter's, null if it is not. Throws Error if it is no .glint file.
std::unique_ptr<GlintFile> OpenAdapterFile(const std::string& path);

}  // namespace glint
