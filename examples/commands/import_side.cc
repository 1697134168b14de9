#include "examples/commands/import_side.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "examples/commands/console.h"
#include "examples/commands/report.h"
#include "formats/architectures/architecture.h"
#include "formats/convert/convert.h"
#include "formats/convert/source_model.h"
#include "formats/import/checkpoint.h"
#include "formats/import/input_file.h"
#include "formats/import/sentencepiece.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxConfigBytes = 16 << 20;

std::string BaseName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

nlohmann::json ReadConfig(const std::string& path) {
  if (!FileExists(path)) return nullptr;
  const std::vector<uint8_t> text = ReadWholeFile(InputFile(path), kMaxConfigBytes);
  return ParseJson({reinterpret_cast<const char*>(text.data()), text.size()}, path);
}

std::shared_ptr<const Tokenizer> Load(const std::string& file, const SentencePieceRules& rules,
                                      const nlohmann::json& more_options) {
  struct Loaded {
    ImportedTokenizer model;
    std::unique_ptr<Tokenizer> tokenizer;
  };
  const auto loaded = std::make_shared<Loaded>();
  loaded->model = ReadSentencePiece(file, rules);
  loaded->model.options.update(more_options);
  loaded->tokenizer = Tokenizer::Create(loaded->model.options, loaded->model.Tables(), file);
  return {loaded, loaded->tokenizer.get()};
}

// A folder with config.json: the architecture knows the tokenizer's file and rules.
std::shared_ptr<const Tokenizer> LoadFromFolder(const std::string& folder) {
  const nlohmann::json config = ReadConfig(folder + "/config.json");
  if (config.is_null() && FileExists(folder + "/ice_text.model")) {
    return Load(folder + "/ice_text.model", {"chatglm1", 0}, nlohmann::json::object());
  }
  const Architecture& architecture = FindArchitecture(config, folder);
  const ImportPlan plan = architecture.plan(config, ReadConfig(folder + "/tokenizer_config.json"),
                                            folder + "/config.json");
  if (plan.tokenizer_files.empty()) {
    throw Error(folder + ": tokenizers of " + Quoted(architecture.name) +
                " models are not supported yet");
  }
  for (const std::string& name : plan.tokenizer_files) {
    const std::string file = folder + "/" + name;
    if (FileExists(file)) return Load(file, plan.tokenizer_rules, plan.tokenizer);
  }
  throw Error(folder + ": no tokenizer in this folder: looked for " + plan.tokenizer_files[0]);
}

}  // namespace

std::shared_ptr<const Tokenizer> ImportTokenizer(const std::string& path, const std::string& type) {
  constexpr std::string_view kKnown[] = {"chatglm1", "chatglm2", "chatglm3", "llama"};
  constexpr const char* kKnownList = "chatglm1, chatglm2, chatglm3, llama";
  if (!type.empty() && std::find(std::begin(kKnown), std::end(kKnown), type) == std::end(kKnown)) {
    throw Error("--type " + type + ": these rules are not supported yet; known: " + kKnownList);
  }
  const bool folder = FolderExists(path);
  if (folder && (type.empty() || type == "chatglm1")) return LoadFromFolder(path);
  if (!type.empty()) {
    return Load(folder ? path + "/tokenizer.model" : path, {type, 0}, nlohmann::json::object());
  }
  if (BaseName(path) == "ice_text.model") {
    return Load(path, {"chatglm1", 0}, nlohmann::json::object());
  }
  const InputFile file(path);  // a file that is not there is said to be so
  throw Error(path +
              ": whose rules these are cannot be told from the file; name them with --type "
              "(known: " +
              kKnownList + ")");
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
