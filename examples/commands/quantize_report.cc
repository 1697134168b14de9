// glint quantize-report: what quantizing has done to each matrix of a model.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "examples/commands/command.h"
#include "examples/commands/console.h"
#include "examples/commands/heat_map.h"
#include "examples/commands/import_side.h"
#include "examples/commands/interrupt.h"
#include "examples/commands/options.h"
#include "examples/commands/report.h"
#include "formats/output_file.h"
#include "lib/error.h"
#include "lib/system/file.h"

namespace glint {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model, base, svg;
  size_t threads = 0;
  bool json = false, force = false;
};

struct Row {
  const Tensor* tensor;
  std::string type;
  std::optional<MatrixError> error;  // with a base

  uint64_t weights() const { return tensor->shape[0] * tensor->shape[1]; }
  double bits() const {
    return 8 * static_cast<double>(tensor->bytes) / static_cast<double>(weights());
  }
};

struct Totals {
  uint64_t weights = 0, bytes = 0;
  double bits = 0, rmse = 0, relative = 0;
};

BaseModel OpenBase(const std::string& path) {
  if (path != kBuiltinName && !path.ends_with(".glint")) return ImportBase(path);
  const std::shared_ptr<const Model> model = OpenModel(path);
  BaseModel base;
  base.path = path;
  for (const Tensor& tensor : model->file().tensors()) {
    BaseTensor& out = base.tensors[tensor.name];
    out.shape = tensor.shape;
    if (tensor.IsMatrix()) {
      out.read = [view = ViewOf(tensor)](uint64_t row, uint64_t n, float* rows) {
        for (uint64_t i = 0; i < n; ++i) DecodeRow(view, row + i, rows + i * view.layout.cols);
      };
    } else if (tensor.dtype == DType::kF32) {
      out.values.assign(tensor.As<float>(), tensor.As<float>() + tensor.shape[0]);
    }
  }
  base.owner = model;
  return base;
}

const BaseTensor& FindIn(const BaseModel& base, const Tensor& tensor) {
  const auto found = base.tensors.find(tensor.name);
  if (found == base.tensors.end()) {
    throw Error(base.path + ": tensor " + Quoted(tensor.name) + " is missing");
  }
  if (found->second.shape != tensor.shape) {
    throw Error(base.path + ": tensor " + Quoted(tensor.name) + ": expected shape " +
                ShapeText(tensor.shape) + ", found " + ShapeText(found->second.shape));
  }
  return found->second;
}

// Columns that an act-order import has sorted compare only with columns sorted alike.
void CheckOrder(const Model& model, const BaseModel& base, const Tensor& tensor) {
  const std::string order = tensor.name + ".columns";
  if ((model.file().Find(order) != nullptr) == (base.tensors.count(order) != 0)) return;
  throw Error(base.path + ": tensor " + Quoted(tensor.name) +
              ": only one of the two has its columns in act-order; compare with the checkpoint "
              "that the model was made of");
}

// The norm whose output this matrix alone multiplies, as the name of its weights; empty if there is
// none.
std::string NormBefore(const Graph& graph, const std::string& matrix) {
  std::string norm;
  for (const Node& linear : graph.nodes) {
    const std::span<const std::string> weights = WeightsOf(linear);
    if (std::find(weights.begin(), weights.end(), matrix) == weights.end()) continue;
    std::string found;
    for (const Node& node : graph.nodes) {
      const bool is_norm = node.op == "layer_norm" || node.op == "rms_norm";
      if (is_norm && node.outputs[0] == linear.inputs[0]) found = node.inputs[1];
    }
    if (found.empty() || (!norm.empty() && norm != found)) return "";
    norm = found;
  }
  return norm;
}

// A converter may multiply a norm's weights by some factors and divide the columns of the matrices
// that follow by the same (AWQ). What the matrix means is then its columns times model's norm /
// base's norm. Empty where the norms are equal.
std::vector<float> ColumnScale(const Model& model, const BaseModel& base, const Tensor& tensor) {
  const Tensor* norm = model.file().Find(NormBefore(model.graph(), tensor.name));
  if (!norm || norm->dtype != DType::kF32 || norm->IsMatrix()) return {};
  const auto found = base.tensors.find(norm->name);
  if (found == base.tensors.end()) return {};
  const std::vector<float>& base_values = found->second.values;
  const float* values = norm->As<float>();
  if (base_values.size() != norm->shape[0] || base_values.size() != tensor.shape[1]) return {};
  if (std::equal(base_values.begin(), base_values.end(), values)) return {};
  std::vector<float> scale(base_values.size(), 1.0f);
  for (size_t i = 0; i < scale.size(); ++i) {
    if (base_values[i] != 0 && values[i] != 0) scale[i] = values[i] / base_values[i];
  }
  return scale;
}

std::vector<Row> MatricesOf(const GlintFile& file) {
  std::vector<Row> rows;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    if (!tensor.IsMatrix() || !file.TiedTo(i).empty()) continue;
    std::string type = Info(tensor.dtype).name;
    if (tensor.offset != BlockOffset::kNone) type += std::string("+") + Name(tensor.offset);
    rows.push_back({&tensor, type, {}});
  }
  return rows;
}

void Compare(const Model& model, const BaseModel& base, size_t threads, std::vector<Row>* rows) {
  for (const Row& row : *rows) {  // before minutes of work
    FindIn(base, *row.tensor);
    CheckOrder(model, base, *row.tensor);
  }
  ThreadPool pool(threads != 0 ? threads : DefaultThreads());
  ProgressBar bar("comparing");
  uint64_t done = 0, all = 0;
  for (const Row& row : *rows) all += row.weights();
  for (Row& row : *rows) {
    if (InterruptScope::Count() != 0) throw Interrupted();
    const Tensor& tensor = *row.tensor;
    const std::vector<float> scale = ColumnScale(model, base, tensor);
    row.error = CompareMatrices(ViewOf(tensor), FindIn(base, tensor).read,
                                scale.empty() ? nullptr : scale.data(), pool,
                                model.file().path() + ": tensor " + Quoted(tensor.name));
    done += row.weights();
    bar.Update(static_cast<double>(done) / static_cast<double>(all));
  }
}

Totals TotalsOf(const std::vector<Row>& rows) {
  Totals totals;
  double error = 0, base = 0;
  for (const Row& row : rows) {
    totals.weights += row.weights();
    totals.bytes += row.tensor->bytes;
    if (!row.error) continue;
    const double n = static_cast<double>(row.weights());
    error += row.error->rmse * row.error->rmse * n;
    base += row.error->base_rms * row.error->base_rms * n;
  }
  if (totals.weights == 0) return totals;
  const double n = static_cast<double>(totals.weights);
  totals.bits = 8 * static_cast<double>(totals.bytes) / n;
  totals.rmse = std::sqrt(error / n);
  totals.relative = error == 0 ? 0 : std::sqrt(error / base);
  return totals;
}

void PrintReportJson(const Options& options, const std::vector<Row>& rows, const Totals& totals) {
  Json matrices = Json::array();
  for (const Row& row : rows) {
    Json out = {{"name", row.tensor->name},
                {"type", row.type},
                {"shape", row.tensor->shape},
                {"bytes", row.tensor->bytes},
                {"bits", row.bits()}};
    if (row.error) {
      out["rmse"] = row.error->rmse;
      out["relative_rmse"] = row.error->relative;
      out["cosine"] = row.error->cosine;
      out["worst_block"] = {{"row", row.error->worst_row},
                            {"col", row.error->worst_col},
                            {"relative_rmse", row.error->worst}};
    }
    matrices.push_back(std::move(out));
  }
  Json total = {{"matrices", rows.size()},
                {"weights", totals.weights},
                {"bytes", totals.bytes},
                {"bits", totals.bits}};
  if (!options.base.empty()) {
    total["rmse"] = totals.rmse;
    total["relative_rmse"] = totals.relative;
  }
  Json out = {{"file", options.model}};
  if (!options.base.empty()) out["base"] = options.base;
  out["matrices"] = std::move(matrices);
  out["total"] = std::move(total);
  PrintJson(out);
}

void PrintReport(const Options& options, const std::vector<Row>& rows, const Totals& totals) {
  std::vector<std::vector<std::string>> table = {{"matrix", "type", "shape", "bits", "size"}};
  const bool has_base = !options.base.empty();
  if (has_base) {
    for (const char* title : {"RMSE", "relative", "cosine", "worst block", "(row, col)"}) {
      table[0].push_back(title);
    }
  }
  for (const Row& row : rows) {
    std::vector<std::string> line = {OneLine(row.tensor->name), row.type,
                                     ShapeText(row.tensor->shape), Format("%.2f", row.bits()),
                                     HumanBytes(row.tensor->bytes)};
    if (row.error) {
      const MatrixError& error = *row.error;
      line.push_back(Format("%.3e", error.rmse));
      line.push_back(Format("%.3f%%", 100 * error.relative));
      line.push_back(Format("%.6f", error.cosine));
      line.push_back(Format("%.2f%%", 100 * error.worst));
      line.push_back(ShapeText({error.worst_row, error.worst_col}));
    }
    table.push_back(std::move(line));
  }
  PrintColumns(table, {false, false, true, true, true, true, true, true, true, true});
  Print(std::to_string(rows.size()) + " matrices, " + HumanCount(totals.weights) + " weights, " +
        HumanBytes(totals.bytes) + Format(", %.3f bits per weight", totals.bits));
  if (has_base) Print(Format(", relative RMSE %.3f%%", 100 * totals.relative));
  Print("\n");
}

// Splits "layer.12.qkv.weight" into 12 and "qkv"; false if the name has another form.
bool SplitName(const std::string& name, size_t n_layers, size_t* layer, std::string* kind) {
  const std::string start = "layer.";
  if (!name.starts_with(start)) return false;
  const char* const end = name.data() + name.size();
  const auto [next, error] = std::from_chars(name.data() + start.size(), end, *layer);
  if (error != std::errc() || next == end || *next != '.' || *layer >= n_layers) return false;
  *kind = std::string(next + 1, end);
  if (kind->ends_with(".weight")) kind->resize(kind->size() - 7);
  return !kind->empty();
}

HeatMap MapOf(const Options& options, const std::vector<Row>& rows, const Totals& totals) {
  HeatMap map;
  map.title = NamePart(options.model) + " against " + NamePart(options.base);
  map.subtitle =
      HumanCount(totals.weights) + " weights, " + HumanBytes(totals.bytes) +
      Format(", %.3f bits per weight, relative RMSE %.3f%%", totals.bits, 100 * totals.relative);
  for (const Row& row : rows) {
    const HeatMap::Cell cell = {row.tensor->name, row.type, row.error->relative};
    size_t layer = 0;
    std::string kind;
    // A layer's number beyond that of the matrices is none.
    if (!SplitName(row.tensor->name, rows.size(), &layer, &kind)) {
      map.others.push_back(cell);
      continue;
    }
    const auto known = std::find(map.kinds.begin(), map.kinds.end(), kind);
    const size_t at = static_cast<size_t>(known - map.kinds.begin());
    if (known == map.kinds.end()) map.kinds.push_back(kind);
    map.cells[{at, layer}] = cell;
    map.n_layers = std::max(map.n_layers, layer + 1);
  }
  return map;
}

void Run(const Options& options) {
  if (!options.svg.empty() && options.base.empty()) throw UsageError("--svg needs --base");
  const std::unique_ptr<Model> model = OpenModel(options.model);
  std::vector<Row> rows = MatricesOf(model->file());
  std::unique_ptr<OutputFile> svg;
  if (!options.svg.empty()) {
    RefuseReplacingSource(options.model, options.svg);
    RefuseReplacingSource(options.base, options.svg);
    svg = std::make_unique<OutputFile>(options.svg, options.force);
  }
  if (!options.base.empty()) {
    const InterruptScope interrupts;
    Compare(*model, OpenBase(options.base), options.threads, &rows);
  }
  const Totals totals = TotalsOf(rows);
  if (svg) {
    const std::string picture = HeatMapSvg(MapOf(options, rows, totals));
    svg->Resize(picture.size());
    svg->WriteAt(0, picture.data(), picture.size());
    svg->Commit();
  }
  if (options.json) {
    PrintReportJson(options, rows, totals);
  } else {
    PrintReport(options, rows, totals);
  }
}

}  // namespace

RunCommand SetUpQuantizeReport(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->model, "a .glint file, or 'builtin' for the built-in model")
      ->required()
      ->option_text(" ");
  app.add_option("--base", options->base,
                 "what it was made of: a Hugging Face folder, a .gguf, .safetensors,\n.bin or .glint file")
      ->option_text("SRC");
  app.add_flag("--json", options->json, "one JSON object");
  app.add_option("--svg", options->svg, "also draw the errors: layers across, kinds of matrix down")
      ->option_text("FILE");
  app.add_flag("--force", options->force, "replace the SVG file if it exists");
  AddThreadsOption(app, &options->threads);
  app.footer(
      "Without --base: types, bits per weight and sizes. With it, over all weights: the root mean\n"
      "square of the error, the same relative to that of the base's weights, the cosine of the "
      "angle\n"
      "between both, and the block of 32 columns of a row with the greatest relative error. Where "
      "a\n"
      "norm's weights differ from the base's, the columns behind it are compared as they act.\n\n"
      "Examples:\n"
      "  glint quantize-report model-int4.glint --base ~/models/chatglm-6b\n"
      "  glint quantize-report model-int4.glint --base model-f16.glint --svg errors.svg");
  return [options] { Run(*options); };
}

}  // namespace glint
