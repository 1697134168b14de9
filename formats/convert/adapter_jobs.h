#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/convert/convert_adapter.h"
#include "formats/convert/model_writer.h"
#include "formats/import/checkpoint.h"

namespace glint {

// An adapter on its way into a file.
struct AdapterJobs {
  ModelHeader header;
  std::vector<TensorJob> jobs;
  std::shared_ptr<const Checkpoint> owner;  // of what the jobs read
};

AdapterJobs PrefixJobs(const AdapterConvertOptions& options);
AdapterJobs LoraJobs(const AdapterConvertOptions& options);

// Names of THUDM's tensors begin so.
inline constexpr char kPrefixEncoder[] = "transformer.prefix_encoder.";
// The file that makes a folder a LoRA's.
inline constexpr char kPeftConfig[] = "adapter_config.json";

// What every adapter's header has: kind, source, and the base's facts from a model's configuration.
ModelHeader AdapterHeader(const char* kind, const std::string& source,
                          const nlohmann::json& base_config);
// The type in which a tensor of floats is stored. Throws Error if it has no floats.
DType AdapterType(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  const std::optional<DType>& wanted);

}  // namespace glint
