#include "formats/convert/gguf_model.h"

#include <algorithm>
#include <set>

#include "formats/architectures/gguf_config.h"
#include "formats/convert/gguf_weight.h"
#include "formats/convert/join_rows.h"
#include "formats/convert/source_tokenizer.h"
#include "formats/import/chat_template.h"
#include "formats/import/hf_folder.h"
#include "lib/error.h"
#include "lib/text/utf8.h"
#include "lib/version.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using Role = ImportTensor::Role;

// A file on its way to a model.
class GgufModel {
 public:
  explicit GgufModel(const std::string& path)
      : gguf_(Gguf::Open(path)),
        match_(FindGgufArchitecture(*gguf_)),
        plan_(match_.architecture->plan(ConfigFromGguf(*gguf_, *match_.dialect), nullptr, path)) {}

  SourceModel Take() {
    SourceModel model;
    model.path = gguf_->path();
    AddHeader(&model);
    for (const ImportTensor& tensor : plan_.tensors) {
      if (IsTied(tensor)) {
        model.weights.push_back({tensor.name, tensor.shape, tensor.role, tensor.tied_to});
        model.tied_vocabulary = true;
      } else {
        model.weights.push_back(tensor.role == Role::kVector ? Vector(tensor) : Matrix(tensor));
      }
    }
    RefuseUnused();
    model.build = [path = gguf_->path(), build = plan_.build](const std::vector<Tensor>& tensors) {
      std::vector<Graph> graphs;
      graphs.push_back(build(tensors, path));
      return graphs;
    };
    model.owner = gguf_;
    return model;
  }

  const Gguf& gguf() const { return *gguf_; }
  const ImportPlan& plan() const { return plan_; }

 private:
  std::string Text(const char* key, const std::string& fallback) const {
    const GgufValue* value = gguf_->metadata().Find(key);
    if (!value || value->type != GgufType::kString || value->is_array) return fallback;
    const std::string text(value->String());
    return text.empty() || !IsUtf8(text) ? fallback : text;
  }

  void AddHeader(SourceModel* model) const {
    const std::string& path = gguf_->path();
    const std::string file = BaseName(path);
    *model->header.metadata = {{"name", Text("general.name", file)},
                               {"source", file},
                               {"licence", Text("general.license", "unknown")},
                               {"numerics", kNumerics}};
    *model->header.config = plan_.config;
    *model->header.prompt = plan_.prompt;
  }

  // The head is the embedding where the file has none.
  bool IsTied(const ImportTensor& tensor) const {
    if (tensor.tied_to.empty()) return false;
    const GgufPlace place = FindGgufPlace(*match_.dialect, tensor.sources[0].name);
    return !gguf_->Find(place.tensor);
  }

  struct Part {
    const GgufTensor* tensor;
    GgufRows rows;
  };
  // Where rows of ours are, given that the tensor has the shape that it must have.
  Part Find(const ImportTensor& tensor, const ImportSource& source) {
    const GgufPlace place = FindGgufPlace(*match_.dialect, source.name);
    const GgufTensor* found = place.tensor.empty() ? nullptr : gguf_->Find(place.tensor);
    if (!found) {
      throw Error(gguf_->path() + ": tensor " +
                  Quoted(place.tensor.empty() ? source.name : place.tensor) + " is missing");
    }
    used_.insert(found->name);
    std::vector<uint64_t> shape = {source.TensorRows()};
    if (tensor.role != Role::kVector) shape.push_back(tensor.shape[1]);
    if (place.is_part) shape.insert(shape.begin(), plan_.config.value("n_experts", uint64_t{1}));
    // A matrix of one row may come as a vector.
    const bool is_row = shape.size() == 2 && shape[0] == 1 && found->shape.size() == 1;
    if (found->shape != shape && !(is_row && found->shape[0] == shape[1])) {
      throw Error(gguf_->FileName(*found) + ": tensor " + Quoted(found->name) +
                  ": expected shape " + ShapeText(shape) + ", found " + ShapeText(found->shape));
    }
    Part part{found, {source.first_row + place.part * source.TensorRows(), source.rows}};
    if (place.permuted_q) part.rows.permuted_heads = plan_.config.at("n_heads");
    if (place.permuted_k) part.rows.permuted_heads = plan_.config.at("n_kv_heads");
    return part;
  }

  SourceWeight Vector(const ImportTensor& tensor) {
    std::vector<float> values = tensor.values;
    for (const ImportSource& source : tensor.sources) {
      const Part part = Find(tensor, source);
      std::vector<float> rows(part.rows.n_rows);
      gguf_->ReadF32(*part.tensor, part.rows.first_row, part.rows.n_rows, rows.data());
      Unpermute(part.rows.permuted_heads, &rows);
      values.insert(values.end(), rows.begin(), rows.end());
    }
    if (!match_.dialect->plus_applied) {
      for (float& value : values) value += tensor.plus;
    }
    return VectorWeight(tensor.name, DType::kF32, values.data(), values.size());
  }

  // As GgufRows says it of a matrix's rows.
  static void Unpermute(uint64_t heads, std::vector<float>* rows) {
    if (heads == 0) return;
    const std::vector<float> from = *rows;
    const uint64_t head_dim = from.size() / heads;
    for (uint64_t h = 0; h < heads; ++h) {
      for (uint64_t i = 0; i < head_dim; ++i) {
        const uint64_t half = i / (head_dim / 2), pair = i % (head_dim / 2);
        (*rows)[h * head_dim + i] = from[h * head_dim + 2 * pair + half];
      }
    }
  }

  SourceWeight Matrix(const ImportTensor& tensor) {
    std::vector<SourceWeight> parts;
    std::string place = gguf_->path() + ": tensors";
    for (const ImportSource& source : tensor.sources) {
      const Part part = Find(tensor, source);
      place += (parts.empty() ? " " : ", ") + Quoted(part.tensor->name);
      parts.push_back(GgufMatrix(gguf_, *part.tensor, part.rows, tensor.name, tensor.role));
    }
    return parts.size() == 1 ? std::move(parts[0]) : JoinRows(std::move(parts), std::move(place));
  }

  void RefuseUnused() const {
    for (const GgufTensor& tensor : gguf_->tensors()) {
      if (used_.count(tensor.name) != 0 || IsGgufConfigTensor(tensor.name)) continue;
      throw Error(gguf_->FileName(tensor) + ": tensor " + Quoted(tensor.name) +
                  " is not part of this architecture");
    }
  }

  std::shared_ptr<const Gguf> gguf_;
  GgufMatch match_;
  ImportPlan plan_;
  std::set<std::string> used_{};
};

}  // namespace

SourceModel OpenGgufModel(const std::string& path,
                          const std::function<void(const std::string&)>& warn) {
  GgufModel reader(path);
  SourceModel model = reader.Take();
  if (!model.header.prompt->contains("format")) {
    model.header.prompt->update(ChatPromptSection(reader.gguf().metadata(), path, warn));
  }
  AddTokenizer(ReadGgufTokenizer(reader.gguf()), Json::object(), path, warn, &model);
  return model;
}

}  // namespace glint
