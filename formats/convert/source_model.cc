#include "formats/convert/source_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "formats/convert/gguf_model.h"
#include "formats/convert/join_rows.h"
#include "formats/convert/packed_matrix.h"
#include "formats/convert/source_matrix.h"
#include "formats/convert/source_tokenizer.h"
#include "formats/import/chat_template.h"
#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "formats/import/imported_tokenizer.h"
#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "formats/json.h"
#include "lib/adapter.h"
#include "lib/error.h"
#include "lib/low_rank.h"
#include "lib/ops/ops.h"
#include "lib/system/file.h"
#include "lib/version.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using Role = ImportTensor::Role;
using Warn = std::function<void(const std::string&)>;

constexpr uint64_t kSampleTiles = 16;

void AppendVector(const Checkpoint& checkpoint, const ImportSource& part,
                  std::vector<float>* values) {
  const SourceTensor* source = checkpoint.Find(part.name);
  if (!source) throw Error(checkpoint.path() + ": tensor " + Quoted(part.name) + " is missing");
  if (source->shape != std::vector<uint64_t>{part.TensorRows()}) {
    throw Error(checkpoint.FileName(*source) + ": tensor " + Quoted(source->name) +
                ": expected a vector of " + std::to_string(part.TensorRows()) + ", found " +
                std::to_string(source->elements) + " elements of rank " +
                std::to_string(source->shape.size()));
  }
  const size_t begin = values->size();
  values->resize(begin + part.rows);
  checkpoint.ReadF32(*source, part.first_row, part.rows, values->data() + begin);
}

SourceWeight VectorOf(const Checkpoint& checkpoint, const ImportTensor& tensor) {
  std::vector<float> values = tensor.values;
  for (const ImportSource& part : tensor.sources) AppendVector(checkpoint, part, &values);
  if (tensor.plus != 0) {
    for (float& value : values) value += tensor.plus;
  }
  return VectorWeight(tensor.name, DType::kF32, values.data(), values.size());
}

// Adds the order of a matrix's columns, for GraphBuilder::Linear; tied to an equal one if there is one.
void AddColumns(const std::string& name, const std::vector<int32_t>& columns,
                std::vector<SourceWeight>* weights) {
  SourceWeight order = VectorWeight(name + ".columns", DType::kI32, columns.data(), columns.size());
  for (const SourceWeight& other : *weights) {
    if (other.stored != DType::kI32 || other.bytes != order.bytes) continue;
    order.tied_to = other.name;
    break;
  }
  weights->push_back(std::move(order));
}

void AddMatrix(const Checkpoint& checkpoint, const PackedSource& packed,
               const ImportTensor& tensor, std::vector<SourceWeight>* weights) {
  const auto packed_parts = packed.Open(tensor);
  std::vector<SourceWeight> parts;
  std::string place = checkpoint.path() + ": tensors";
  uint64_t row = 0;
  for (size_t i = 0; i < tensor.sources.size(); ++i) {
    const ImportSource& part = tensor.sources[i];
    place += std::string(row == 0 ? " " : ", ") + Quoted(part.name) + " (rows " +
             std::to_string(row) + " to " + std::to_string(row + part.rows - 1) + ")";
    row += part.rows;
    SourceWeight weight{tensor.name, {part.TensorRows(), tensor.shape[1]}, tensor.role};
    if (packed_parts[i]) {
      SetPacked(packed_parts, i, &weight);
    } else {
      const SourceMatrix source(checkpoint, part.name, part.TensorRows(), tensor.shape[1]);
      weight.stored = source.stored();
      weight.read = source.Rows();
      weight.place = source.Place();
      weight.native = source.Native();
    }
    parts.push_back(SliceRows(std::move(weight), part.first_row, part.rows));
  }
  weights->push_back(parts.size() == 1 ? std::move(parts[0])
                                       : JoinRows(std::move(parts), std::move(place)));
  if (!packed_parts[0] || packed_parts[0]->columns().empty()) return;
  AddColumns(tensor.name, packed_parts[0]->columns(), weights);
}

// Whether the checkpoint gives this tensor no contents of its own.
bool IsTied(const Checkpoint& checkpoint, const PackedSource& packed, const ImportTensor& tensor,
            const std::vector<ImportTensor>& all) {
  if (tensor.tied_to.empty() || packed.Has(tensor.sources[0].name)) return false;
  const std::string& source = tensor.sources[0].name;
  const SourceTensor* mine = checkpoint.Find(source);
  if (!mine) return true;
  const auto other = std::find_if(all.begin(), all.end(), [&](const ImportTensor& candidate) {
    return candidate.name == tensor.tied_to;
  });
  const std::string& other_source = other->sources[0].name;
  const SourceTensor* theirs = checkpoint.Find(other_source);
  if (!theirs || !SameContents(checkpoint, *mine, *theirs)) return false;
  // THUDM's integers mean the same only with the same scales.
  const SourceTensor* my_scale = checkpoint.Find(source + "_scale");
  const SourceTensor* their_scale = checkpoint.Find(other_source + "_scale");
  if (!my_scale || !their_scale) return my_scale == their_scale;
  return SameContents(checkpoint, *my_scale, *their_scale);
}

// A tensor that nobody asked for means that the checkpoint is not what we take it for.
void RefuseUnknownTensors(const Checkpoint& checkpoint, const PackedSource& packed,
                          const ImportPlan& plan) {
  std::set<std::string> known;
  for (const ImportTensor& tensor : plan.tensors) {
    for (const ImportSource& source : tensor.sources) {
      known.insert(source.name);
      known.insert(source.name + "_scale");
      if (packed.Has(source.name)) known.merge(packed.PartNames(source.name));
    }
  }
  for (const SourceTensor& tensor : checkpoint.tensors()) {
    const auto ignored = [&](const std::string& ending) { return tensor.name.ends_with(ending); };
    if (known.count(tensor.name) != 0 || packed.IsZeroBias(tensor)) continue;
    if (std::any_of(plan.ignored.begin(), plan.ignored.end(), ignored)) continue;
    throw Error(checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                " is not part of this architecture");
  }
}

void AddCheckpointWeights(const Checkpoint& checkpoint, const PackedSource& packed,
                          const ImportPlan& plan, SourceModel* model) {
  for (const ImportTensor& tensor : plan.tensors) {
    if (IsTied(checkpoint, packed, tensor, plan.tensors)) {
      model->weights.push_back({tensor.name, tensor.shape, tensor.role, tensor.tied_to});
      model->tied_vocabulary = true;
    } else if (tensor.role == Role::kVector) {
      model->weights.push_back(VectorOf(checkpoint, tensor));
    } else {
      AddMatrix(checkpoint, packed, tensor, &model->weights);
    }
  }
}

// A text of config.json, or what stands for it.
std::string TextOr(const Json& config, const char* key, const std::string& fallback) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_string() || *found == "") return fallback;
  return found->get<std::string>();
}

// Null if the folder has no such file.
Json ReadFolderJson(const Checkpoint& checkpoint, const char* name) {
  const std::string path = checkpoint.FindFile(name);
  return path.empty() ? Json() : ReadJsonFile(path);
}

// A reply ends at the ids of generation_config.json, too: chat models have their own there.
void AddStopIds(const Checkpoint& checkpoint, uint64_t vocab_size, Json* prompt) {
  const Json generation = ReadFolderJson(checkpoint, "generation_config.json");
  if (!generation.is_object() || !generation.contains("eos_token_id")) return;
  const Json& found = generation["eos_token_id"];
  Json& stop = (*prompt)["stop_ids"];
  for (const Json& id : found.is_array() ? found : Json::array({found})) {
    const bool is_id = id.is_number_unsigned() && id.get<uint64_t>() < vocab_size;
    if (is_id && std::find(stop.begin(), stop.end(), id) == stop.end()) stop.push_back(id);
  }
}

SourceModel OpenCheckpoint(const std::string& path, const Warn& warn) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::Open(path);
  const Json& config = checkpoint->config();
  const Architecture& architecture = FindArchitecture(config, path);
  const Json tokenizer_config = ReadFolderJson(*checkpoint, "tokenizer_config.json");
  const ImportPlan plan = architecture.plan(config, tokenizer_config, path + ": config.json");
  const PackedSource packed(*checkpoint, path + ": config.json");
  RefuseUnknownTensors(*checkpoint, packed, plan);

  SourceModel model;
  model.path = path;
  const std::string name = NamePart(path);
  *model.header.metadata = {{"name", TextOr(config, "_name_or_path", name)},
                            {"source", name},
                            {"licence", TextOr(config, "license", "unknown")},
                            {"numerics", kNumerics}};
  *model.header.config = plan.config;
  *model.header.prompt = plan.prompt;
  AddStopIds(*checkpoint, plan.config.at("vocab_size").get<uint64_t>(), &*model.header.prompt);
  if (!plan.prompt.contains("format")) {
    model.header.prompt->update(ChatPromptSection(
        tokenizer_config, checkpoint->FindFile("chat_template.jinja"), path, warn));
  }
  AddCheckpointWeights(*checkpoint, packed, plan, &model);
  const std::string folder = FolderExists(path) ? path : FolderPart(path);
  AddTokenizer(ReadFolderTokenizer(folder.empty() ? "." : folder, plan.tokenizer_rules),
               plan.tokenizer, path, warn, &model);
  model.build = [path, build = plan.build](const std::vector<Tensor>& tensors) {
    std::vector<Graph> graphs;
    graphs.push_back(build(tensors, path));
    return graphs;
  };
  model.owner = checkpoint;
  return model;
}

// What the graph does with a matrix: gathers from it, or makes its output with it (kVocabulary);
// decides by it how experts are mixed (kSmall).
std::map<std::string, Role> RolesOf(const Graph& graph) {
  std::map<std::string, Role> roles;
  std::set<std::string> mixing;
  const size_t head = FindHead(graph);
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (node.op == "route") mixing.insert(node.inputs[0]);
    if (node.op == "gate") mixing.insert(node.inputs[1]);
    if (node.op == "embedding" || i == head) {
      roles[node.inputs[1]] = Role::kVocabulary;
    } else if (node.op == "linear" && mixing.count(node.outputs[0]) != 0) {
      roles[node.inputs[1]] = Role::kSmall;
    }
  }
  return roles;
}

SourceWeight MatrixOf(const Tensor& tensor, Role role, const std::string& path) {
  const MatrixView view = ViewOf(tensor);
  SourceWeight weight{tensor.name, tensor.shape, role};
  weight.stored = tensor.dtype;
  weight.place = path + ": tensor " + Quoted(tensor.name);
  weight.read = [view](uint64_t row, uint64_t n, float* out) {
    for (uint64_t i = 0; i < n; ++i) DecodeRow(view, row + i, out + i * view.layout.cols);
  };
  weight.native = {tensor.offset, kDefaultInt4Table, FillFromMatrix(view)};
  if (Info(tensor.dtype).has_table) {
    std::memcpy(weight.native->table.data(), view.Table(), weight.native->table.size());
  }
  return weight;
}

SourceModel OpenGlint(const std::string& path) {
  const std::shared_ptr<GlintFile> file = GlintFile::Open(path);
  if (!AdapterKindOf(*file).empty()) {
    throw Error(path + ": is an adapter already; its folder becomes one of another type (--type)");
  }
  std::vector<Graph> graphs = file->header().graphs;
  std::map<std::string, Role> roles;
  const FindTensor find = [&](const std::string& name) { return file->Find(name); };
  for (const Graph& graph : graphs) {
    CheckGraph(path + ": graph " + Quoted(graph.name), graph, find);
  }
  for (const Graph& graph : graphs) roles.merge(RolesOf(graph));

  SourceModel model;
  model.path = path;
  model.header = file->header();
  model.header.graphs.clear();
  std::map<const uint8_t*, std::string> stored;  // by address: a tied name comes second
  for (const Tensor& tensor : file->tensors()) {
    if (tensor.name.ends_with(kFoldedEnding) && tensor.dtype == DType::kF32 && !tensor.IsMatrix()) {
      const std::string norm = tensor.name.substr(0, tensor.name.size() - std::strlen(kFoldedEnding));
      model.folded[norm].assign(tensor.As<float>(), tensor.As<float>() + tensor.shape[0]);
      continue;
    }
    const auto [first, is_new] = stored.emplace(tensor.data, tensor.name);
    if (!is_new) {
      model.weights.push_back(
          {tensor.name, tensor.shape, Role::kVector, first->second, tensor.dtype});
      if (tensor.IsMatrix()) model.tied_vocabulary = true;
    } else if (tensor.IsMatrix()) {
      const auto role = roles.find(tensor.name);
      model.weights.push_back(
          MatrixOf(tensor, role == roles.end() ? Role::kMatrix : role->second, path));
    } else {
      SourceWeight vector = VectorWeight(tensor.name, tensor.dtype, tensor.data, tensor.bytes);
      vector.shape = tensor.shape;
      model.weights.push_back(std::move(vector));
    }
  }
  model.build = [graphs = std::move(graphs)](const std::vector<Tensor>&) { return graphs; };
  model.owner = file;
  return model;
}

}  // namespace

SourceModel OpenSource(const std::string& path, const Warn& warn) {
  if (path.ends_with(".gguf") || IsGguf(path)) return OpenGgufModel(path, warn);
  return path.ends_with(".glint") ? OpenGlint(path) : OpenCheckpoint(path, warn);
}

FillTiles FillFromMatrix(const MatrixView& view) {
  return [view](const MatrixLayout& layout, uint64_t row, uint64_t n_rows, TilePlanes planes) {
    const uint64_t tile = row / kTileRows, n = (n_rows + kTileRows - 1) / kTileRows;
    const auto copy = [n](void* to, const void* from, uint64_t tile_bytes) {
      if (tile_bytes != 0) std::memcpy(to, from, n * tile_bytes);
    };
    copy(planes.row_scales, view.RowScales(tile), layout.row_scales_tile);
    copy(planes.block_scales, view.BlockScales(tile), layout.block_scales_tile);
    copy(planes.block_offsets, view.BlockOffsets(tile), layout.block_offsets_tile);
    copy(planes.codes, view.Codes(tile), layout.codes_tile);
  };
}

std::map<std::string, const SourceWeight*> WeightsByName(const SourceModel& source) {
  std::map<std::string, const SourceWeight*> weights;
  for (const SourceWeight& weight : source.weights) weights[weight.name] = &weight;
  return weights;
}

std::set<std::string> ExpertsOf(const SourceModel& source) {
  std::vector<Tensor> metas;
  for (const SourceWeight& weight : source.weights) {
    metas.push_back({weight.name, weight.stored, BlockOffset::kNone, weight.shape});
  }
  std::set<std::string> names;
  for (const Graph& graph : source.build(metas)) {
    for (const Node& node : graph.nodes) {
      if (node.op != "routed_linear") continue;
      for (const std::string& weight : WeightsOf(node)) names.insert(weight);
    }
  }
  return names;
}

SampledRows SampleRows(const SourceWeight& matrix) {
  const uint64_t rows = matrix.shape[0], cols = matrix.shape[1];
  const uint64_t tiles = (rows + kTileRows - 1) / kTileRows, n = std::min(tiles, kSampleTiles);
  SampledRows sample;
  sample.rows.resize(n * kTileRows * cols);
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t row = (n == 1 ? 0 : i * (tiles - 1) / (n - 1)) * kTileRows;
    const uint64_t count = std::min<uint64_t>(kTileRows, rows - row);  // short in the last tile only
    matrix.read(row, count, sample.rows.data() + sample.n * cols);
    sample.n += count;
  }
  return sample;
}

std::vector<Tensor> TensorMetas(const std::vector<TensorJob>& jobs) {
  std::vector<Tensor> tensors;
  for (const TensorJob& job : jobs) {
    Tensor& meta = tensors.emplace_back();
    meta = {job.plan.name, job.plan.dtype, job.plan.offset, job.plan.shape};
    if (!job.bytes.empty()) meta.data = job.bytes.data();
    if (job.plan.tied_to.empty()) continue;
    for (const Tensor& other : tensors) {
      if (other.name == job.plan.tied_to) meta.data = other.data;
    }
  }
  return tensors;
}

}  // namespace glint
