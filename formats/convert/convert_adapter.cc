#include "formats/convert/convert_adapter.h"

#include <algorithm>

#include "formats/architectures/hf_options.h"
#include "formats/convert/adapter_jobs.h"
#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "formats/json.h"
#include "formats/output_file.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/system/file.h"
#include "lib/version.h"

namespace glint {
namespace {

using Json = nlohmann::json;

}  // namespace

AdapterSource AdapterSourceOf(const std::string& path) {
  const bool is_folder = FolderExists(path);
  if (is_folder && FileExists(JoinPath(path, kPeftConfig))) return AdapterSource::kLora;
  if (!is_folder && !path.ends_with(".bin") && !path.ends_with(".safetensors")) {
    return AdapterSource::kNone;
  }
  const std::string folder = is_folder ? path : FolderPart(path);
  const Json config = ReadJsonIfThere(JoinPath(folder.empty() ? "." : folder, "config.json"));
  // THUDM's configuration says that there is a prefix; whether it is all that is there, the tensors
  // say.
  if (!config.is_object() || !HasOption(config, "pre_seq_len")) return AdapterSource::kNone;
  const std::unique_ptr<Checkpoint> checkpoint = Checkpoint::Open(path);
  const std::vector<SourceTensor>& tensors = checkpoint->tensors();
  const bool all = std::all_of(tensors.begin(), tensors.end(), [](const SourceTensor& tensor) {
    return tensor.name.starts_with(kPrefixEncoder);
  });
  return all && !tensors.empty() ? AdapterSource::kPrefix : AdapterSource::kNone;
}

ModelHeader AdapterHeader(const char* kind, const std::string& source, const Json& base_config) {
  const std::string name = NamePart(source);
  ModelHeader header;
  *header.metadata = {{"kind", kind},
                      {"name", name},
                      {"source", name},
                      {"licence", "unknown"},
                      {"created_by", kProgramName},
                      {"numerics", kNumerics}};
  Json& config = *header.config;
  config = Json::object();
  for (const char* key : {"architecture", "dim", "n_layers", "n_heads", "n_kv_heads", "head_dim"}) {
    if (base_config.contains(key)) config[key] = base_config[key];
  }
  if (!config.contains("n_kv_heads") && config.contains("n_heads")) {
    config["n_kv_heads"] = config["n_heads"];
  }
  *header.prompt = Json::object();
  return header;
}

DType AdapterType(const Checkpoint& checkpoint, const SourceTensor& tensor,
                  const std::optional<DType>& wanted) {
  DType own = DType::kF32;
  switch (tensor.type) {
    case SourceType::kF32:
      own = DType::kF32;
      break;
    case SourceType::kF16:
      own = DType::kF16;
      break;
    case SourceType::kBF16:
      own = DType::kBF16;
      break;
    default:
      throw Error(checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                  ": expected F32, F16 or BF16, found " + Name(tensor.type));
  }
  return wanted.value_or(own);
}

void ConvertAdapter(const AdapterConvertOptions& options) {
  const FpModeScope fp_mode;
  const AdapterSource source = AdapterSourceOf(options.source);
  if (source == AdapterSource::kNone) {
    throw Error(options.source +
                ": is neither a P-Tuning prefix (pre_seq_len in config.json, and no "
                "tensors but " +
                kPrefixEncoder + "*) nor a LoRA's folder (" + kPeftConfig + ")");
  }
  if (!options.write.memory) CheckOutputPath(options.write.output, options.write.overwrite);
  AdapterJobs made = source == AdapterSource::kLora ? LoraJobs(options) : PrefixJobs(options);
  WriteModel(made.header, std::move(made.jobs), options.write);
}

std::shared_ptr<const OutputMemory> ConvertAdapterToMemory(const AdapterConvertOptions& options) {
  const auto memory = std::make_shared<OutputMemory>(options.source);
  AdapterConvertOptions into = options;
  into.write.output = options.source;
  into.write.memory = memory;
  ConvertAdapter(into);
  return memory;
}

}  // namespace glint
