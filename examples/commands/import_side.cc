#include "examples/commands/import_side.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "examples/commands/console.h"
#include "examples/commands/report.h"
#include "formats/architectures/architecture.h"
#include "formats/convert/convert.h"
#include "formats/convert/convert_adapter.h"
#include "formats/convert/source_model.h"
#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "formats/import/hf_folder.h"
#include "formats/import/imported_tokenizer.h"
#include "formats/import/input_file.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

std::shared_ptr<const Tokenizer> Load(ImportedTokenizer model, const std::string& where) {
  const std::shared_ptr<LoadedTokenizer> loaded = LoadTokenizer(std::move(model), where);
  return {loaded, loaded->tokenizer.get()};
}

// What the architecture of the folder's config.json knows about its tokenizer. Of a model that we
// do not know, or cannot run, the tokenizer's own files must say everything.
ImportPlan PlanOf(const std::string& folder) {
  ImportPlan plan;
  plan.tokenizer_rules.rules = "";
  const nlohmann::json config = ReadJsonIfThere(folder + "/config.json");
  if (config.is_null()) return plan;
  const nlohmann::json tokenizer_config = ReadJsonIfThere(folder + "/tokenizer_config.json");
  try {
    return FindArchitecture(config, folder).plan(config, tokenizer_config, folder + "/config.json");
  } catch (const Error&) {
    return plan;
  }
}

std::shared_ptr<const Tokenizer> LoadFromFolder(const std::string& folder,
                                                const std::string& type) {
  ImportPlan plan;
  plan.tokenizer_rules.rules = type;
  if (type.empty()) plan = PlanOf(folder);
  std::optional<ImportedTokenizer> model = ReadFolderTokenizer(folder, plan.tokenizer_rules);
  if (!model) {
    throw Error(folder +
                ": no tokenizer in this folder: looked for ice_text.model, "
                "tokenizer.model, tokenizer.json, vocab.json and vocab.txt");
  }
  model->options.update(plan.tokenizer);
  return Load(std::move(*model), folder);
}

}  // namespace

std::shared_ptr<const Tokenizer> ImportTokenizer(const std::string& path, const std::string& type) {
  if (FolderExists(path)) return LoadFromFolder(path, type);
  // By its name too: then reading says what is wrong with it.
  const bool gguf = path.ends_with(".gguf") || IsGguf(path);
  if (!type.empty() && (gguf || (path.ends_with(".json") && BaseName(path) != "vocab.json"))) {
    throw Error("--type " + type + ": " + path + " names its rules itself");
  }
  if (!gguf) return Load(ReadTokenizerFile(path, {type, 0}), path);
  std::optional<ImportedTokenizer> model = ReadGgufTokenizer(*Gguf::Open(path));
  if (!model) throw Error(path + ": the file has no tokenizer");
  return Load(std::move(*model), path);
}

void PrintCheckpoint(const std::string& path, bool as_json) {
  const std::unique_ptr<Checkpoint> checkpoint = Checkpoint::Open(path);
  std::vector<TensorRow> rows;
  for (const SourceTensor& tensor : checkpoint->tensors()) {
    rows.push_back({tensor.name, Name(tensor.type), tensor.shape, tensor.elements,
                    tensor.elements * ElementBytes(tensor.type),
                    BaseName(checkpoint->FileName(tensor))});
  }
  const nlohmann::json& config = checkpoint->config();
  if (as_json) {
    Json out = {{"file", path}, {"format", "checkpoint"}};
    if (!config.is_null()) out["config"] = config;
    out["tensors"] = TensorsJson(rows, "file");
    PrintJson(out);
    return;
  }
  Print(OneLine(path) + ": checkpoint\n");
  if (!config.is_null()) PrintObject("config", config);
  PrintTensors(rows);
}

std::unique_ptr<Adapter> ImportAdapter(const Model& model, const std::string& path, size_t threads) {
  AdapterConvertOptions options;
  options.source = path;
  options.base = &model.file();
  options.write.threads = threads;
  const std::shared_ptr<const OutputMemory> memory = ConvertAdapterToMemory(options);
  return Adapter::FromMemory(model, memory->data(), memory->bytes(), path, memory);
}

BaseModel ImportBase(const std::string& path) {
  SourceModel source = OpenSource(path);
  BaseModel base;
  base.path = path;
  for (SourceWeight& weight : source.weights) {
    BaseTensor& tensor = base.tensors[weight.name];
    if (!weight.tied_to.empty()) {
      tensor = base.tensors[weight.tied_to];
      continue;
    }
    tensor.shape = weight.shape;
    tensor.read = std::move(weight.read);
    if (weight.stored != DType::kF32 || weight.bytes.empty()) continue;
    tensor.values.resize(weight.bytes.size() / sizeof(float));
    std::memcpy(tensor.values.data(), weight.bytes.data(), tensor.values.size() * sizeof(float));
  }
  base.owner = source.owner;
  return base;
}

void SynthesizeModel(const SynthRequest& request) {
  SynthOptions options;
  options.shape = request.shape;
  options.seed = request.seed;
  options.write.output = request.output;
  options.write.overwrite = request.overwrite;
  options.write.threads = request.threads;
  options.write.progress = request.progress;
  ParseDType(request.type, &options.type);
  Synthesize(options);
}

}  // namespace glint
