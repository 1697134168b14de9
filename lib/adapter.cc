#include "lib/adapter.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "formats/json.h"
#include "lib/error.h"
#include "lib/ops/matmul.h"
#include "lib/ops/ops.h"
#include "lib/system/free_memory.h"
#include "quant/f16.h"

namespace glint {
namespace {

using Json = nlohmann::json;

const std::string kKinds[] = {"prefix", "lora"};

constexpr uint64_t kMaxPrefix = 1 << 20;
// Far above any in use; what a token takes in memory grows with it.
constexpr uint64_t kMaxRank = 4096;
constexpr uint64_t kMaxRanksOfMatrix = 4 * kMaxRank;

// Facts of the base that an adapter was made for and that decide whether it means anything to a
// model.
constexpr const char* kBaseNumbers[] = {"dim", "n_layers", "n_heads", "n_kv_heads", "head_dim"};

// What a model's configuration says, or says by leaving it out.
Json ConfigOf(const Json& config, const char* key) {
  if (config.contains(key)) return config[key];
  return std::string_view(key) == "n_kv_heads" && config.contains("n_heads") ? config["n_heads"]
                                                                             : Json();
}

float ElementOf(const Tensor& tensor, uint64_t i) {
  if (tensor.dtype == DType::kF32) return tensor.As<float>()[i];
  const uint16_t bits = tensor.As<uint16_t>()[i];
  return tensor.dtype == DType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
}

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

// Shapes of the model's caches: every layer has the same.
struct CacheFacts {
  uint64_t n_layers = 0, kv_heads = 0, head_dim = 0;
  int64_t windowed = -1;  // a layer that has a window
};

CacheFacts FactsOf(const Model& model) {
  const FindTensor find = [&](const std::string& name) { return model.file().Find(name); };
  const auto values = CheckGraph(model.file().path() + ": graph 'main'", model.graph(), find);
  CacheFacts facts;
  for (const Node& node : model.graph().nodes) {
    if (node.op != "attention") continue;
    const Shape& k = values.at(node.inputs[1]).shape;
    ++facts.n_layers;
    facts.kv_heads = static_cast<uint64_t>(k[1]);
    facts.head_dim = static_cast<uint64_t>(k[2]);
    if (IntOf(node, "window") != 0) facts.windowed = IntOf(node, "layer");
  }
  return facts;
}

}  // namespace

std::string AdapterKindOf(const GlintFile& file) {
  const Json& metadata = *file.header().metadata;
  if (!metadata.contains("kind")) return "";
  const std::string kind = GetString(metadata, "kind", file.path() + ": metadata");
  for (const std::string& known : kKinds) {
    if (kind == known) return kind;
  }
  throw Error(file.path() + ": metadata: unknown kind " + Quoted(kind) + "; known: prefix, lora");
}

const std::string& Adapter::kind() const {
  return kKinds[static_cast<size_t>(kind_)];
}

std::unique_ptr<Adapter> Adapter::Open(const Model& model, const std::string& path, LoadMode mode) {
  LoadOptions options;
  options.mode = mode;
  if (mode == LoadMode::kCopy) options.copy_limit = FreeMemory();
  return std::unique_ptr<Adapter>(new Adapter(model, GlintFile::Open(path, options)));
}

std::unique_ptr<Adapter> Adapter::FromMemory(const Model& model, const void* data, uint64_t size,
                                             const std::string& name,
                                             std::shared_ptr<const void> owner) {
  return std::unique_ptr<Adapter>(
      new Adapter(model, GlintFile::FromMemory(data, size, name, std::move(owner))));
}

Adapter::Adapter(const Model& model, std::unique_ptr<GlintFile> file)
    : model_(model), file_(std::move(file)) {
  const std::string kind = AdapterKindOf(*file_);
  if (kind.empty()) {
    throw Error(file_->path() + ": is a model, not an adapter (metadata has no 'kind')");
  }
  kind_ = kind == "prefix" ? Kind::kPrefix : Kind::kLora;
  if (!file_->header().graphs.empty()) throw Error(file_->path() + ": an adapter has no graphs");
  if (!model_.file().Unchanged()) {  // whose tensors a LoRA may need
    throw Error(model_.file().path() + ": the file changed while it was open");
  }
  CheckBase();
  if (is_prefix()) {
    ReadPrefix();
  } else {
    ReadLora();
  }
  CheckNumbers();
}

// The base is of the same architecture and size. Weights may be of any type.
void Adapter::CheckBase() const {
  const Json& mine = *file_->header().config;
  const Json& base = *model_.file().header().config;
  const std::string where = file_->path() + ": config";
  const auto refuse = [&](const char* key, const std::string& own, const Json& other) {
    throw Error(file_->path() + ": was made for a model with " + key + " " + own + "; " +
                model_.file().path() + " has " +
                (other.is_null()
                     ? "none"
                     : Quoted(other.is_string() ? other.get<std::string>() : other.dump())));
  };
  const std::string architecture = GetString(mine, "architecture", where);
  const Json other = ConfigOf(base, "architecture");
  if (other != architecture) refuse("architecture", Quoted(architecture), other);
  for (const char* key : kBaseNumbers) {
    const uint64_t number = GetUint(mine, key, 1, UINT32_MAX, where);
    const Json theirs = ConfigOf(base, key);
    if (theirs != number) refuse(key, std::to_string(number), theirs);
  }
}

const Tensor& Adapter::TensorOf(const std::string& name, const char* what) const {
  const Tensor* tensor = file_->Find(name);
  if (!tensor)
    throw Error(file_->path() + ": tensor " + Quoted(name) + " (" + what + ") is missing");
  if (!IsFloat(tensor->dtype)) {
    throw Error(file_->path() + ": tensor " + Quoted(name) + ": expected f32, f16 or bf16, found " +
                Info(tensor->dtype).name);
  }
  return *tensor;
}

void Adapter::ReadPrefix() {
  const Json& config = *file_->header().config;
  prefix_length_ = GetUint(config, "prefix_length", 1, kMaxPrefix, file_->path() + ": config");
  const CacheFacts facts = FactsOf(model_);
  if (facts.windowed >= 0) {
    throw Error(file_->path() + ": a prefix needs layers that see all of the past; layer " +
                std::to_string(facts.windowed) + " of " + model_.file().path() + " has a window");
  }
  const std::vector<uint64_t> shape = {prefix_length_ * facts.kv_heads * facts.head_dim};
  const auto part = [&](uint64_t layer, const char* name) {
    const Tensor& tensor = TensorOf("prefix." + std::to_string(layer) + "." + name, name);
    if (tensor.shape == shape) return &tensor;
    throw Error(file_->path() + ": tensor " + Quoted(tensor.name) + ": expected shape " +
                ShapeText(shape) + " of " + std::to_string(prefix_length_) + " entries, " +
                std::to_string(facts.kv_heads) + " kv heads of " + std::to_string(facts.head_dim) +
                ", found " + ShapeText(tensor.shape));
  };
  for (uint64_t layer = 0; layer < facts.n_layers; ++layer) {
    prefix_.push_back({part(layer, "keys"), part(layer, "values")});
  }
  if (file_->tensors().size() == 2 * facts.n_layers) return;
  throw Error(file_->path() + ": expected " + std::to_string(2 * facts.n_layers) +
              " tensors, keys and values of " + std::to_string(facts.n_layers) + " layers, found " +
              std::to_string(file_->tensors().size()));
}

void Adapter::ReadLora() {
  const Json& metadata = *model_.file().header().metadata;
  const std::string recipe = metadata.value("recipe", Json()).is_string() ? metadata["recipe"] : "";
  const bool calibrated = recipe.find(';') != std::string::npos;
  if (calibrated && !metadata.contains("folded")) {
    throw Error(model_.file().path() + ": an earlier version made it with recipe " +
                Quoted(recipe) +
                " and did not keep what a LoRA needs to know of its norms: convert it anew");
  }
  const std::string where = file_->path() + ": config";
  const Json& targets = GetArray(*file_->header().config, "targets", where);
  std::set<std::string> used;
  for (size_t i = 0; i < targets.size(); ++i) {
    const std::string at = where + ": targets[" + std::to_string(i) + "]";
    if (!targets[i].is_object()) throw Error(at + ": expected an object");
    AddTarget(targets[i], at);
    for (const char* key : {"a", "b"}) used.insert(targets[i][key].get<std::string>());
  }
  if (targets.empty()) throw Error(where + ": 'targets': expected at least one");
  for (const Tensor& tensor : file_->tensors()) {
    if (used.count(tensor.name) == 0) {
      throw Error(file_->path() + ": tensor " + Quoted(tensor.name) + " belongs to no target");
    }
  }
}

void Adapter::AddTarget(const Json& target, const std::string& where) {
  static const std::set<std::string> kKnown = {"weight", "first_row", "scale", "a", "b"};
  for (const auto& [key, value] : target.items()) {
    if (kKnown.count(key) == 0) throw Error(where + ": unknown option " + Quoted(key));
  }
  const std::string weight = GetString(target, "weight", where);
  const Node& linear = LinearOf(weight, where);
  const Tensor& w = *model_.file().Find(weight);
  const Tensor& a = TensorOf(GetString(target, "a", where), "a");
  const Tensor& b = TensorOf(GetString(target, "b", where), "b");
  const uint64_t first = GetUint(target, "first_row", 0, w.shape[0] - 1, where);
  const double scale = GetNumber(target, "scale", where);
  if (!std::isfinite(static_cast<float>(scale))) {
    throw Error(where + ": 'scale': expected a finite number, found " + std::to_string(scale));
  }
  if (first % kTileRows != 0) {
    throw Error(where + ": 'first_row': expected a multiple of " + std::to_string(kTileRows) +
                ", found " + std::to_string(first));
  }
  if (!a.IsMatrix() || a.shape[1] != w.shape[1] || a.shape[0] > kMaxRank) {
    throw Error(file_->path() + ": tensor " + Quoted(a.name) + ": expected shape (r, " +
                std::to_string(w.shape[1]) + "), r at most " + std::to_string(kMaxRank) +
                ", found " + ShapeText(a.shape));
  }
  if (!b.IsMatrix() || b.shape[1] != a.shape[0] || b.shape[0] > w.shape[0] - first) {
    throw Error(file_->path() + ": tensor " + Quoted(b.name) + ": expected shape (at most " +
                std::to_string(w.shape[0] - first) + ", " + std::to_string(a.shape[0]) +
                "), found " + ShapeText(b.shape));
  }
  std::vector<LowRank>& changes = low_rank_[weight];
  // Parts of a matrix may share a tile of rows, of which the later has zeros.
  const size_t free = changes.empty() ? 0
                                      : (changes.back().first_row + changes.back().b.layout.rows) /
                                            kTileRows * kTileRows;
  if (first < free) {
    throw Error(where + ": rows of " + Quoted(weight) + " are changed twice, or out of order");
  }
  uint64_t ranks = a.shape[0];
  for (const LowRank& other : changes) ranks += other.a.layout.rows;
  if (ranks > kMaxRanksOfMatrix) {
    throw Error(where + ": the ranks of all changes of " + Quoted(weight) + " are more than " +
                std::to_string(kMaxRanksOfMatrix));
  }
  const Tensor* folded = FoldedScales(linear);
  const MatrixView view = folded ? TimesColumns(ViewOf(a), folded->As<float>()) : ViewOf(a);
  changes.push_back({view, ViewOf(b), first, static_cast<float>(scale)});
}

// What was folded into the norm whose output the linear reads; null if nothing was.
const Tensor* Adapter::FoldedScales(const Node& linear) const {
  const GlintFile& file = model_.file();
  for (const Node& node : model_.graph().nodes) {
    if (node.outputs[0] != linear.inputs[0]) continue;
    if (node.op != "layer_norm" && node.op != "rms_norm") return nullptr;
    const Tensor* scales = file.Find(node.inputs[1] + kFoldedEnding);
    if (!scales) return nullptr;
    const std::vector<uint64_t> shape = {file.Find(linear.inputs[1])->shape[1]};
    if (scales->dtype == DType::kF32 && scales->shape == shape) return scales;
    throw Error(file.path() + ": tensor " + Quoted(scales->name) + ": expected f32 of shape " +
                ShapeText(shape) + ", found " + Info(scales->dtype).name + " " +
                ShapeText(scales->shape));
  }
  return nullptr;
}

// The matrix as f32, column c times scales[c].
MatrixView Adapter::TimesColumns(const MatrixView& a, const float* scales) {
  MatrixView made;
  ComputeLayout(DType::kF32, BlockOffset::kNone, a.layout.rows, a.layout.cols, &made.layout);
  std::vector<Line>& lines = made_.emplace_back(made.layout.bytes / sizeof(Line));
  std::vector<float> row(a.layout.cols);
  for (uint64_t r = 0; r < a.layout.rows; ++r) {
    DecodeRow(a, r, row.data());
    Line* const tile = lines.data() + r / kTileRows * a.layout.cols;
    for (uint64_t c = 0; c < row.size(); ++c) tile[c].lanes[r % kTileRows] = row[c] * scales[c];
  }
  made.data = reinterpret_cast<const uint8_t*>(lines.data());
  return made;
}

// The op that multiplies by this matrix. No other than linear may.
const Node& Adapter::LinearOf(const std::string& weight, const std::string& where) const {
  const Node* linear = nullptr;
  for (const Node& node : model_.graph().nodes) {
    const std::span<const std::string> weights = WeightsOf(node);
    if (std::find(weights.begin(), weights.end(), weight) == weights.end()) continue;
    if (node.op != "linear") {
      throw Error(where + ": weight " + Quoted(weight) + ": adapters of experts are not supported");
    }
    linear = &node;
  }
  if (linear) return *linear;
  throw Error(where + ": weight " + Quoted(weight) + ": " + model_.file().path() +
              " has no linear op with a matrix of this name");
}

void Adapter::CheckNumbers() const {
  std::vector<float> row;
  for (const Tensor& tensor : file_->tensors()) {
    const uint64_t rows = tensor.IsMatrix() ? tensor.shape[0] : 1;
    row.resize(tensor.shape.back());
    for (uint64_t r = 0; r < rows; ++r) {
      if (tensor.IsMatrix()) {
        DecodeRow(ViewOf(tensor), r, row.data());
      } else {
        for (uint64_t i = 0; i < row.size(); ++i) row[i] = ElementOf(tensor, i);
      }
      for (size_t i = 0; i < row.size(); ++i) {
        if (std::isfinite(row[i])) continue;
        throw Error(file_->path() + ": tensor " + Quoted(tensor.name) + ": element " +
                    std::to_string(r * row.size() + i) + " is not finite");
      }
    }
  }
}

}  // namespace glint
