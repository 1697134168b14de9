#include "formats/convert/staged_model.h"

#include <algorithm>
#include <new>
#include <cstring>
#include <set>

#include "formats/convert/run_throwing.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

// Rows that one task reads and lays out.
constexpr uint64_t kBandRows = 64;

bool IsFloat(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

DType TypeInMemory(const SourceWeight& weight) {
  return IsFloat(weight.stored) ? weight.stored : DType::kF32;
}

// When each value is read last; the graph's output by its caller.
std::map<std::string, size_t> LastReaders(const Graph& graph) {
  std::map<std::string, size_t> last;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const std::string& input : graph.nodes[i].inputs) last[input] = i;
  }
  for (const std::string& output : graph.outputs) last[output] = graph.nodes.size();
  return last;
}

// The rows that reach one expert of op routed_linear, each expert's part of a token's row: (n, cols).
std::vector<float> RowsOfExpert(const StepContext& context, const Step& step, size_t expert,
                                size_t cols) {
  std::vector<float> rows;
  const float* x = context.Rows(step.in[0]);
  const float* experts = context.Rows(step.in[1]) + step.top_k;
  for (size_t t = 0; t < context.n; ++t) {
    for (size_t s = 0; s < step.top_k; ++s) {
      if (experts[t * context.Stride(step.in[1]) + s] != static_cast<float>(expert)) continue;
      const float* row =
          x + t * context.Stride(step.in[0]) + (step.in[0].width == cols ? 0 : s * cols);
      rows.insert(rows.end(), row, row + cols);
    }
  }
  return rows;
}

}  // namespace

OwnedTensor AllocateTensor(const std::string& name, DType dtype, BlockOffset offset,
                           const std::vector<uint64_t>& shape) {
  OwnedTensor owned;
  owned.tensor = {name, dtype, offset, shape};
  if (!TensorBytes(dtype, offset, shape, &owned.tensor.bytes)) {
    throw Error("tensor " + Quoted(name) + ": cannot exist in this type and shape");
  }
  const uint64_t size = (owned.tensor.bytes + 63) / 64 * 64;
  constexpr std::align_val_t kAlignment{64};
  owned.memory = {static_cast<uint8_t*>(::operator new(size, kAlignment, std::nothrow)),
                  [](void* memory) { ::operator delete(memory, kAlignment); }};
  if (!owned.memory) {
    throw Error("tensor " + Quoted(name) + ": out of memory for " + std::to_string(size >> 20) +
                " MiB");
  }
  std::memset(owned.memory.get(), 0, size);
  owned.tensor.data = owned.memory.get();
  return owned;
}

StagedModel::StagedModel(const SourceModel& source, const TokenWindows& windows, size_t threads)
    : source_(source),
      windows_(windows),
      kernels_(ChooseKernels()),
      pool_(std::make_unique<ThreadPool>(threads == 0 ? DefaultThreads() : threads)) {
  std::vector<Tensor> metas;
  for (const SourceWeight& weight : source.weights) {
    weights_[weight.name] = &weight;
    const DType type = weight.shape.size() == 2 ? TypeInMemory(weight) : weight.stored;
    metas.push_back({weight.name, type, BlockOffset::kNone, weight.shape});
  }
  const std::vector<Graph> graphs = source.build(metas);
  const auto main = std::find_if(graphs.begin(), graphs.end(),
                                 [](const Graph& graph) { return graph.name == "main"; });
  if (main == graphs.end()) throw Error(source.path + ": graph 'main' is missing");
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    const auto found = std::find_if(metas.begin(), metas.end(),
                                    [&](const Tensor& tensor) { return tensor.name == name; });
    return found == metas.end() ? nullptr : &*found;
  };
  values_ = CheckGraph(source.path + ": graph 'main'", *main, find);
  for (auto& [name, value] : values_) value.tensor = nullptr;  // metas end here
  CutGraph(*main);
  CheckWindows();
}

StagedModel::~StagedModel() = default;

const SourceWeight& StagedModel::Weight(const std::string& name) const {
  const SourceWeight* weight = weights_.at(name);
  while (!weight->tied_to.empty()) weight = weights_.at(weight->tied_to);
  return *weight;
}

void StagedModel::CutGraph(const Graph& graph) {
  const std::vector<Node>& nodes = graph.nodes;
  const std::map<std::string, size_t> last = LastReaders(graph);
  const auto refuse = [&](const char* why) {
    throw Error(source_.path + ": graph 'main' cannot be calibrated: " + why);
  };
  if (nodes.empty() || nodes.front().op != "embedding") refuse("it does not begin with an embedding");
  const size_t head = FindHead(graph);
  if (head == nodes.size()) refuse("it does not end with a linear op");
  // What follows the head is a chain (softcap): it needs nothing else, and neither runs.
  for (size_t i = head + 1; i < nodes.size(); ++i) {
    if (nodes[i].inputs != nodes[i - 1].outputs) refuse("its output is not its head's");
  }
  embedding_ = nodes.front().inputs[1];
  std::set<std::string> live;
  std::string in;
  size_t begin = 1;
  bool has_linear = false;
  for (size_t i = 0; i < head; ++i) {
    for (const std::string& output : nodes[i].outputs) live.insert(output);
    std::erase_if(live, [&](const std::string& value) {
      const auto reader = last.find(value);
      return reader == last.end() || reader->second <= i;
    });
    has_linear = has_linear || !WeightsOf(nodes[i]).empty();
    const bool is_cut = live.size() == 1 && values_.at(*live.begin()).shape.size() == 2;
    if (i == 0) {
      if (!is_cut) refuse("more than the embedding goes into its layers");
      in = *live.begin();
    } else if (i + 1 == head) {
      if (!is_cut) refuse("more than one value goes into its head");
      AddStage(graph, begin, i + 1, in, nodes[head].inputs[0]);
    } else if (is_cut && has_linear) {
      AddStage(graph, begin, i + 1, in, *live.begin());
      begin = i + 1;
      in = *live.begin();
      has_linear = false;
    }
  }
  if (stages_.empty()) refuse("it has no layers");
  for (const Stage& stage : stages_) {
    if (values_.at(stage.graph.outputs[0]).shape != values_.at(nodes[0].outputs[0]).shape) {
      refuse("its layers differ in width");
    }
  }
  const std::string& matrix = nodes[head].inputs[1];
  stages_.back().inputs.push_back({nodes[head].inputs[0], Weight(matrix).shape[1], {matrix}});
}

void StagedModel::AddStage(const Graph& graph, size_t begin, size_t end, const std::string& in,
                           const std::string& out) {
  Stage stage;
  stage.graph.name = "stage " + std::to_string(stages_.size());
  stage.graph.inputs = graph.inputs;
  stage.graph.outputs = {out};
  Node hidden{"hidden", {}, {in}, {}};
  hidden.attributes["width"] = values_.at(in).shape[1];
  stage.graph.nodes.push_back(hidden);
  std::map<int64_t, int64_t> layers;  // of this stage's own cache
  for (size_t i = begin; i < end; ++i) {
    Node node = graph.nodes[i];
    if (node.op == "attention") {
      Attribute& layer = node.attributes.at("layer");
      const auto place = static_cast<int64_t>(layers.size());
      layer = layers.emplace(std::get<int64_t>(layer), place).first->second;
    }
    AddInputs(node, &stage);
    stage.graph.nodes.push_back(std::move(node));
  }
  stages_.push_back(std::move(stage));
}

void StagedModel::AddInputs(const Node& node, Stage* stage) const {
  const std::span<const std::string> weights = WeightsOf(node);
  for (size_t i = 0; i < weights.size(); ++i) {
    Input mine{node.inputs[0], Weight(weights[i]).shape[1], {weights[i]}};
    if (node.op == "routed_linear") {
      mine.routing = node.inputs[1];
      mine.expert = i;
    }
    const auto known = std::find_if(
        stage->inputs.begin(), stage->inputs.end(), [&](const Input& input) {
          return input.value == mine.value && input.routing == mine.routing &&
                 input.expert == mine.expert;
        });
    if (known != stage->inputs.end()) {
      known->weights.push_back(weights[i]);
    } else {
      stage->inputs.push_back(std::move(mine));
    }
  }
}

void StagedModel::CheckWindows() {
  const std::string where = source_.path + ": prompt";
  const nlohmann::json& prompt = *source_.header.prompt;
  const uint64_t vocabulary = Weight(embedding_).shape[0];
  prompt_ids_ = ReadPromptIds(prompt, vocabulary, where);
  const std::string scheme = GetString(prompt, "position_scheme", where);
  positions_ = FindPositionScheme(scheme);
  if (!positions_) throw Error(where + ": unknown position scheme " + Quoted(scheme));
  if (windows_.n() == 0) throw Error(source_.path + ": there is nothing to calibrate with");
  for (const int32_t id : windows_.ids) {
    if (id >= 0 && static_cast<uint64_t>(id) < vocabulary) continue;
    throw Error("calibration: id " + std::to_string(id) + " is outside the vocabulary of " +
                std::to_string(vocabulary));
  }
}

StagedModel::Rows StagedModel::Embed(size_t n_windows) const {
  const SourceWeight& table = Weight(embedding_);
  const size_t width = table.shape[1], n = std::min(n_windows, windows_.n()) * windows_.length;
  Rows rows(n * width);
  RunThrowing(*pool_, (n + kBandRows - 1) / kBandRows, [&](size_t task, size_t) {
    for (size_t t = task * kBandRows; t < std::min<size_t>(n, (task + 1) * kBandRows); ++t) {
      table.read(static_cast<uint64_t>(windows_.ids[t]), 1, rows.data() + t * width);
    }
  });
  return rows;
}

void StagedModel::Load(size_t stage) {
  memory_.clear();
  loaded_ = stage;
  std::set<std::string> names;
  for (const Node& node : stages_[stage].graph.nodes) {
    for (const std::string& input : node.inputs) {
      if (weights_.count(input) != 0) names.insert(input);
    }
  }
  for (const std::string& name : names) {
    const SourceWeight& weight = Weight(name);
    const bool is_matrix = weight.shape.size() == 2;
    const DType type = is_matrix ? TypeInMemory(weight) : weight.stored;
    OwnedTensor owned = AllocateTensor(name, type, BlockOffset::kNone, weight.shape);
    if (!is_matrix) {
      std::memcpy(owned.memory.get(), weight.bytes.data(), weight.bytes.size());
    } else {
      const MatrixLayout layout = ViewOf(owned.tensor).layout;
      const FillTiles fill = FillFromRows(weight.read, {}, weight.place);
      RunThrowing(*pool_, (layout.rows + kBandRows - 1) / kBandRows, [&](size_t task, size_t) {
        const uint64_t row = task * kBandRows;
        fill(layout, row, std::min(kBandRows, layout.rows - row),
             PlanesAt(layout, owned.memory.get(), row / kTileRows));
      });
    }
    memory_.emplace(name, std::move(owned));
  }
}

void StagedModel::Run(Rows* rows, bool keep, const std::vector<const Tensor*>& replaced,
                      const Observe& observe) {
  const FpModeScope fp_mode;
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor* tensor : replaced) {
      if (tensor->name == name) return tensor;
    }
    return &memory_.at(name).tensor;
  };
  const size_t length = windows_.length;
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = options.context = length;
  options.n_threads = pool_->size();
  const Plan plan(stages_[loaded_].graph, find, options, &rope_tables_);
  // A stage without attention has a cache that nobody touches.
  const KvCache cache(std::max<size_t>(1, plan.n_layers()), std::max<size_t>(1, plan.kv_heads()),
                      std::max<size_t>(1, plan.head_dim()), length, KvType::kF32);
  const size_t width = plan.steps().front().out.width;
  for (size_t window = 0; window * length * width < rows->size(); ++window) {
    RunWindow(plan, cache, window, rows->data() + window * length * width, keep, observe);
  }
}

void StagedModel::RunWindow(const Plan& plan, const KvCache& cache, size_t window, float* rows, bool keep,
                            const Observe& observe) {
  const size_t n = windows_.length;
  const int32_t* ids = windows_.ids.data() + window * n;
  SequencePositions sequence;
  std::string why;
  if (!positions_->start({ids, n}, prompt_ids_, &sequence, &why)) {
    throw Error("calibration: window " + std::to_string(window) + ": " + why);
  }
  std::vector<int32_t> positions(2 * n);
  for (size_t i = 0; i < n; ++i) {
    int32_t at[2] = {};
    positions_->at(sequence, i, at);
    positions[i] = at[0];
    positions[n + i] = at[1];
  }
  RunInputs inputs;
  inputs.n = n;
  inputs.ids = ids;
  inputs.positions[0] = positions.data();
  inputs.positions[1] = positions.data() + n;
  inputs.prefix_len = sequence.prefix_len;
  inputs.hidden = rows;
  StepContext context{plan, inputs, kernels_, *pool_, cache};
  context.n = n;  // all rows at once: a cut of the plan needs nothing more
  const std::vector<Input>& observed = stages_[loaded_].inputs;
  const auto report = [&](const std::string& value, const ActivationRef& ref) {
    for (size_t i = 0; observe && i < observed.size(); ++i) {
      if (observed[i].value != value || observed[i].IsExpert()) continue;
      observe(i, context.Rows(ref), context.Stride(ref), n);
    }
  };
  const auto report_experts = [&](const Step& step) {
    for (size_t i = 0; observe && i < observed.size(); ++i) {
      const Input& input = observed[i];
      if (input.value != step.node->inputs[0] || input.routing != step.node->inputs[1]) continue;
      const std::vector<float> reached = RowsOfExpert(context, step, input.expert, input.cols);
      if (!reached.empty()) observe(i, reached.data(), input.cols, reached.size() / input.cols);
    }
  };
  std::set<std::string> seen;
  for (const Step& step : plan.steps()) {
    const bool reads_floats = step.node->op == "linear" && !step.quantized_in && step.matrix.data;
    if (reads_floats && seen.insert(step.node->inputs[0]).second) {
      report(step.node->inputs[0], step.in[0]);
    }
    const bool reads_experts = !step.experts.empty();
    if (reads_experts && seen.insert(step.node->inputs[0] + " " + step.node->inputs[1]).second) {
      report_experts(step);
    }
    step.run(context, step);
  }
  if (stages_.size() == loaded_ + 1) report(stages_.back().inputs.back().value, plan.output());
  if (!keep) return;
  const ActivationRef& out = plan.output();
  for (size_t i = 0; i < n; ++i) {
    std::memcpy(rows + i * out.width, context.Rows(out) + i * context.Stride(out),
                out.width * sizeof(float));
  }
}

}  // namespace glint
