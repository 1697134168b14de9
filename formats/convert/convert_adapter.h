#pragma once
#include <memory>
#include <optional>
#include <string>

#include "formats/convert/model_writer.h"
#include "formats/glint_file.h"
#include "formats/output_memory.h"
#include "quant/dtype.h"

namespace glint {

// What of others' making can become an adapter of ours (docs/ADAPTERS.md).
enum class AdapterSource : uint8_t {
  kNone,    // a model, or nothing that is known
  kPrefix,  // THUDM's P-Tuning v2: a folder, or its weights' file, with
            // transformer.prefix_encoder.* and no other tensors, and the base's config.json
  kLora,  // PEFT's: a folder with adapter_config.json
};
// Looks at names alone. Throws Error where a file of weights cannot be read.
AdapterSource AdapterSourceOf(const std::string& path);

struct AdapterConvertOptions {
  std::string source;
  // LoRA only: the model that it is for, an open .glint file of any types. Says what its tensors
  // are called.
  const GlintFile* base = nullptr;
  std::optional<DType> type{};  // of the numbers: f32, f16 or bf16; none: as they are
  WriteOptions write;
};

// Makes a .glint file of an adapter. Throws Error naming an option that would change what is
// computed and is not known, a tensor that is not understood, a number that is not finite; then
// there is no file.
void ConvertAdapter(const AdapterConvertOptions& options);
// The same into memory; write.output and write.overwrite do not matter.
std::shared_ptr<const OutputMemory> ConvertAdapterToMemory(const AdapterConvertOptions& options);

}  // namespace glint
