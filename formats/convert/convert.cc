#include "formats/convert/convert.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "formats/architectures/architecture.h"
#include "formats/glint_file.h"
#include "formats/import/checkpoint.h"
#include "formats/import/input_file.h"
#include "formats/import/sentencepiece.h"
#include "formats/json.h"
#include "formats/convert/source_matrix.h"
#include "lib/error.h"
#include "lib/ops/ops.h"
#include "lib/version.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// Below this many parameters the vocabulary matrices weigh little and lose much: they stay at 8 bits.
constexpr uint64_t kSmallModel = 1'000'000'000;
constexpr uint64_t kMaxConfigBytes = 64 << 20;

bool IsInt4(DType type) {
  return type == DType::kInt4 || type == DType::kInt4x || type == DType::kInt4a;
}

// What decides the type of each matrix. A tied vocabulary is stored once and read twice, so 8 bits for
// it are cheap.
class TypeRules {
 public:
  TypeRules(const ConvertOptions& options, uint64_t parameters, bool tied_vocabulary)
      : options_(options), vocabulary_int8_(tied_vocabulary || parameters < kSmallModel) {}

  // `kept`: the type that it has already and stays in unless another is asked for.
  DType For(const std::string& name, ImportTensor::Role role, std::optional<DType> kept) const {
    for (const auto& [pattern, type] : options_.tensor_types) {
      if (Matches(pattern, name)) return type;
    }
    if (!options_.has_type && kept) return *kept;
    if (role == ImportTensor::Role::kVocabulary && IsInt4(options_.type) && vocabulary_int8_) {
      return DType::kInt8;
    }
    return options_.type;
  }

 private:
  const ConvertOptions& options_;
  bool vocabulary_int8_;
};

template <class T>
TensorJob VectorJob(const std::string& name, DType dtype, const T* data, size_t n) {
  TensorJob job{{name, dtype, BlockOffset::kNone, {n}, ""}};
  job.bytes.resize(n * sizeof(T));
  std::memcpy(job.bytes.data(), data, job.bytes.size());
  return job;
}

void AddTokenizerJobs(const SentencePieceModel& model, std::vector<TensorJob>* jobs) {
  const auto add = [&](const char* name, DType dtype, const auto& values) {
    if (values.empty()) return;
    jobs->push_back(VectorJob(std::string("tokenizer.") + name, dtype, values.data(), values.size()));
  };
  add("piece_bytes", DType::kU8, model.piece_bytes);
  add("piece_ends", DType::kI32, model.piece_ends);
  add("scores", DType::kF32, model.scores);
  add("types", DType::kU8, model.types);
  add("charsmap", DType::kU8, model.charsmap);
  add("index", DType::kI32, model.index);
}

TensorJob SourceVectorJob(const Checkpoint& checkpoint, const ImportTensor& tensor) {
  if (tensor.source.empty()) {
    return VectorJob(tensor.name, DType::kF32, tensor.values.data(), tensor.values.size());
  }
  const SourceTensor* source = checkpoint.Find(tensor.source);
  if (!source) {
    throw Error(checkpoint.path() + ": tensor " + Quoted(tensor.source) + " is missing");
  }
  if (source->shape != tensor.shape) {
    throw Error(checkpoint.FileName(*source) + ": tensor " + Quoted(source->name) +
                ": expected a vector of " + std::to_string(tensor.shape[0]) + ", found " +
                std::to_string(source->elements) + " elements of rank " +
                std::to_string(source->shape.size()));
  }
  std::vector<float> values(tensor.shape[0]);
  checkpoint.ReadF32(*source, 0, values.size(), values.data());
  return VectorJob(tensor.name, DType::kF32, values.data(), values.size());
}

// Whether the checkpoint gives this tensor no contents of its own.
bool IsTied(const Checkpoint& checkpoint, const ImportTensor& tensor,
            const std::vector<ImportTensor>& all) {
  if (tensor.tied_to.empty()) return false;
  const SourceTensor* mine = checkpoint.Find(tensor.source);
  if (!mine) return true;
  const auto other = std::find_if(all.begin(), all.end(), [&](const ImportTensor& candidate) {
    return candidate.name == tensor.tied_to;
  });
  const SourceTensor* theirs = checkpoint.Find(other->source);
  if (!theirs || !SameContents(checkpoint, *mine, *theirs)) return false;
  // THUDM's integers mean the same only with the same scales.
  const SourceTensor* my_scale = checkpoint.Find(tensor.source + "_scale");
  const SourceTensor* their_scale = checkpoint.Find(other->source + "_scale");
  if (!my_scale || !their_scale) return my_scale == their_scale;
  return SameContents(checkpoint, *my_scale, *their_scale);
}

// A tensor that nobody asked for means that the checkpoint is not what we take it for.
void RefuseUnknownTensors(const Checkpoint& checkpoint, const ImportPlan& plan) {
  std::set<std::string> known;
  for (const ImportTensor& tensor : plan.tensors) {
    known.insert(tensor.source);
    known.insert(tensor.source + "_scale");
  }
  for (const SourceTensor& tensor : checkpoint.tensors()) {
    const auto ignored = [&](const std::string& ending) { return tensor.name.ends_with(ending); };
    if (known.count(tensor.name) != 0) continue;
    if (std::any_of(plan.ignored.begin(), plan.ignored.end(), ignored)) continue;
    throw Error(checkpoint.FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                " is not part of this architecture");
  }
}

std::vector<TensorJob> TensorJobs(const Checkpoint& checkpoint, const ImportPlan& plan,
                                  const ConvertOptions& options) {
  std::set<std::string> tied;
  for (const ImportTensor& tensor : plan.tensors) {
    if (IsTied(checkpoint, tensor, plan.tensors)) tied.insert(tensor.name);
  }
  uint64_t parameters = 0;
  for (const ImportTensor& tensor : plan.tensors) {
    if (tensor.shape.size() == 2) parameters += tensor.shape[0] * tensor.shape[1];
  }
  const TypeRules types(options, parameters, !tied.empty());
  std::vector<TensorJob> jobs;
  for (const ImportTensor& tensor : plan.tensors) {
    if (tied.count(tensor.name) != 0) {
      jobs.push_back({{tensor.name, DType::kF32, BlockOffset::kNone, tensor.shape, tensor.tied_to}});
    } else if (tensor.role == ImportTensor::Role::kVector) {
      jobs.push_back(SourceVectorJob(checkpoint, tensor));
    } else {
      const SourceMatrix source(checkpoint, tensor.source, tensor.shape[0], tensor.shape[1]);
      const DType type = types.For(tensor.name, tensor.role, source.native());
      TensorJob job{{tensor.name, type, BlockOffset::kNone, tensor.shape, ""}};
      job.fill = source.Fill(type, options.search, &job.table);
      jobs.push_back(std::move(job));
    }
  }
  for (TensorJob& job : jobs) {
    if (job.plan.tied_to.empty()) continue;
    // A tied name has the type of the tensor it stands for.
    for (const TensorJob& other : jobs) {
      if (other.plan.name == job.plan.tied_to) job.plan.dtype = other.plan.dtype;
    }
  }
  return jobs;
}

// The tokenizer's tables as jobs, and its section of the header; null, with a warning, without a file.
Json ImportTokenizer(const Checkpoint& checkpoint, const ImportPlan& plan,
                     const ConvertOptions& options, std::vector<TensorJob>* jobs) {
  std::string path;
  for (const std::string& name : plan.tokenizer_files) {
    if (path.empty()) path = checkpoint.FindFile(name);
  }
  if (path.empty()) {
    if (options.warn) {
      options.warn(checkpoint.path() + ": there is no " + plan.tokenizer_files[0] +
                   "; the model will have no tokenizer: logits, greedy and bench work, chat does not");
    }
    return nullptr;
  }
  const SentencePieceModel model = ReadSentencePiece(path, plan.tokenizer_rules);
  AddTokenizerJobs(model, jobs);
  Json section = model.options;
  section.update(plan.tokenizer);
  return section;
}

std::vector<Tensor> TensorMetas(const std::vector<TensorJob>& jobs) {
  std::vector<Tensor> tensors;
  for (const TensorJob& job : jobs) {
    tensors.push_back({job.plan.name, job.plan.dtype, job.plan.offset, job.plan.shape});
  }
  return tensors;
}

// A text of config.json, or what stands for it.
std::string TextOr(const Json& config, const char* key, const std::string& fallback) {
  const auto found = config.find(key);
  if (found == config.end() || !found->is_string() || *found == "") return fallback;
  return found->get<std::string>();
}

Json Metadata(const Json& hf_config, const std::string& source, const std::string& recipe) {
  return {{"name", TextOr(hf_config, "_name_or_path", source)},
          {"source", source},
          {"licence", TextOr(hf_config, "license", "unknown")},
          {"recipe", recipe},
          {"created_by", kProgramName},
          {"numerics", kNumerics}};
}

// How the matrices are stored, by bytes: "int4" or "int4, int8".
std::string RecipeOf(const std::vector<TensorJob>& jobs) {
  std::map<std::string, uint64_t> elements;
  for (const TensorJob& job : jobs) {
    if (job.fill) elements[Info(job.plan.dtype).name] += job.plan.shape[0] * job.plan.shape[1];
  }
  std::vector<std::pair<uint64_t, std::string>> order;
  for (const auto& [name, n] : elements) order.emplace_back(n, name);
  std::sort(order.rbegin(), order.rend());
  std::string recipe;
  for (const auto& [n, name] : order) recipe += (recipe.empty() ? "" : ", ") + name;
  return recipe;
}

std::string BaseName(const std::string& path) {
  const std::filesystem::path normal = std::filesystem::absolute(path).lexically_normal();
  return (normal.has_filename() ? normal.filename() : normal.parent_path().filename()).string();
}

void ConvertCheckpoint(const ConvertOptions& options) {
  const std::unique_ptr<Checkpoint> checkpoint = Checkpoint::Open(options.source);
  const Architecture& architecture = FindArchitecture(checkpoint->config(), options.source);
  Json tokenizer_config;
  const std::string tokenizer_path = checkpoint->FindFile("tokenizer_config.json");
  if (!tokenizer_path.empty()) {
    const std::vector<uint8_t> text = ReadWholeFile(InputFile(tokenizer_path), kMaxConfigBytes);
    tokenizer_config = ParseJson({reinterpret_cast<const char*>(text.data()), text.size()},
                                 tokenizer_path);
  }
  const ImportPlan plan = architecture.plan(checkpoint->config(), tokenizer_config,
                                            options.source + ": config.json");
  RefuseUnknownTensors(*checkpoint, plan);
  std::vector<TensorJob> jobs = TensorJobs(*checkpoint, plan, options);

  ModelHeader header;
  *header.metadata = Metadata(checkpoint->config(), BaseName(options.source), RecipeOf(jobs));
  *header.config = plan.config;
  *header.prompt = plan.prompt;
  header.graphs.push_back(plan.build(TensorMetas(jobs), options.source));
  Json tokenizer = ImportTokenizer(*checkpoint, plan, options, &jobs);
  if (!tokenizer.is_null()) header.tokenizer = std::make_unique<Json>(std::move(tokenizer));
  WriteModel(header, jobs, options.write);
}

// The matrices of a graph that hold the vocabulary: what it gathers from, and what makes its output.
std::set<std::string> VocabularyNames(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes) {
    const bool head = node.op == "linear" && node.outputs == graph.outputs;
    if (node.op == "embedding" || head) names.insert(node.inputs[1]);
  }
  return names;
}

// Fills from a matrix of another file: its bytes where the type stays, else its rows encoded anew.
FillTiles FillFromMatrix(const MatrixView& view, DType type, bool search, const std::string& place) {
  if (type != view.layout.dtype) {
    EncodeOptions encode;
    encode.search = search;
    return FillFromRows(
        [view](uint64_t row, uint64_t n, float* out) {
          for (uint64_t i = 0; i < n; ++i) DecodeRow(view, row + i, out + i * view.layout.cols);
        },
        encode, place);
  }
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

TensorJob MatrixJob(const Tensor& tensor, DType type, bool search, const std::string& source) {
  const MatrixView view = ViewOf(tensor);
  const bool same = type == tensor.dtype;
  TensorJob job{{tensor.name, type, same ? tensor.offset : BlockOffset::kNone, tensor.shape, ""}};
  job.fill = FillFromMatrix(view, type, search, source + ": tensor " + Quoted(tensor.name));
  if (same && Info(type).has_table) {
    std::memcpy(job.table.data(), view.Table(), job.table.size());
  }
  return job;
}

// A .glint file again, its matrices in other types.
void ConvertGlint(const ConvertOptions& options) {
  const std::unique_ptr<GlintFile> file = GlintFile::Open(options.source);
  uint64_t parameters = 0;
  bool tied = false;
  std::map<const uint8_t*, std::string> stored;  // by address: a tied name comes second
  for (const Tensor& tensor : file->tensors()) {
    if (!stored.emplace(tensor.data, tensor.name).second) tied = true;
    if (tensor.IsMatrix()) parameters += tensor.shape[0] * tensor.shape[1];
  }
  std::set<std::string> vocabulary;
  const FindTensor find = [&](const std::string& name) { return file->Find(name); };
  for (const Graph& graph : file->header().graphs) {
    CheckGraph(options.source + ": graph " + Quoted(graph.name), graph, find);
  }
  for (const Graph& graph : file->header().graphs) vocabulary.merge(VocabularyNames(graph));

  const TypeRules types(options, parameters, tied);
  std::map<std::string, DType> chosen;
  std::vector<TensorJob> jobs;
  for (const Tensor& tensor : file->tensors()) {
    const std::string& first = stored.at(tensor.data);
    if (first != tensor.name) {
      jobs.push_back({{tensor.name, chosen.at(first), BlockOffset::kNone, tensor.shape, first}});
    } else if (!tensor.IsMatrix()) {
      jobs.push_back(VectorJob(tensor.name, tensor.dtype, tensor.data, tensor.bytes));
      jobs.back().plan.shape = tensor.shape;
    } else {
      const auto role = vocabulary.count(tensor.name) != 0 ? ImportTensor::Role::kVocabulary
                                                           : ImportTensor::Role::kMatrix;
      const DType type = types.For(tensor.name, role, tensor.dtype);
      jobs.push_back(MatrixJob(tensor, type, options.search, options.source));
    }
    chosen[tensor.name] = jobs.back().plan.dtype;
  }
  ModelHeader header = file->header();
  (*header.metadata)["recipe"] = RecipeOf(jobs);
  (*header.metadata)["created_by"] = kProgramName;
  WriteModel(header, jobs, options.write);
}

}  // namespace

bool Matches(const std::string& pattern, const std::string& text) {
  size_t p = 0, t = 0, star = std::string::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;  // let the last star take one character more
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void Convert(const ConvertOptions& options) {
  if (options.source.ends_with(".glint")) {
    ConvertGlint(options);
  } else {
    ConvertCheckpoint(options);
  }
}

}  // namespace glint
