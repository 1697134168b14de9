#include "lib/plan.h"

#include <algorithm>

#include "lib/checked_math.h"
#include "lib/error.h"
#include "lib/ops/quantize.h"
#include "lib/plan_builder.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

constexpr char kActivations[] = "activations";

}  // namespace

float* StepContext::Rows(const ActivationRef& ref) const {
  const Buffer& buffer = plan.buffers()[ref.buffer];
  const size_t row = buffer.crosses ? begin : 0;
  return reinterpret_cast<float*>(plan.arena() + buffer.arena_offset) + row * buffer.row_floats +
         ref.offset;
}

uint8_t* StepContext::Scratch(const Step& step) const {
  return plan.arena() + plan.buffers()[step.scratch_buffer].arena_offset;
}

PlanBuilder::PlanBuilder(Plan& plan, const Graph& graph, const FindTensor& find_tensor,
                         RopeTables& rope_tables)
    : plan_(plan), find_tensor_(find_tensor), rope_tables_(rope_tables) {
  for (const Node& node : graph.nodes) {
    for (const std::string& input : node.inputs) ++readers_[input];
  }
  for (const std::string& output : graph.outputs) ++readers_[output];
}

Step& PlanBuilder::AddStep(const Node& node, Step::Run run) {
  Step step;
  step.run = run;
  step.node = &node;
  step.label = node.op;
  step.segment = segment_;
  size_t n_vectors = 0;
  for (const std::string& name : node.inputs) {
    const auto place = places_.find(name);
    if (place != places_.end()) {
      step.in.push_back(place->second);
      continue;
    }
    const auto input = std::find_if(kGraphInputs.begin(), kGraphInputs.end(),
                                    [&](const GraphInput& row) { return name == row.name; });
    if (input != kGraphInputs.end()) {
      step.inputs.push_back(static_cast<InputId>(input - kGraphInputs.begin()));
      continue;
    }
    const Tensor& tensor = *find_tensor_(name);
    if (tensor.IsMatrix()) {
      step.matrix = ViewOf(tensor);
    } else if (n_vectors < 2) {
      step.vectors[n_vectors++] = tensor.As<float>();
    }
  }
  plan_.steps_.push_back(std::move(step));
  return plan_.steps_.back();
}

void PlanBuilder::SetOutput(Step& step, const Node& node, uint64_t width, uint64_t heads) {
  step.out.buffer = static_cast<uint32_t>(plan_.buffers_.size());
  step.out.width = width;
  step.out.heads = heads;
  step.out.head_stride = width / heads;
  Buffer buffer;
  // Rows start at 64-byte lines, an odd number of them apart: a column of many rows would otherwise
  // share few sets of the caches.
  buffer.row_floats = ((width + 15) / 16 | 1) * 16;
  plan_.buffers_.push_back(buffer);
  places_[node.outputs[0]] = step.out;
}

uint32_t PlanBuilder::AddPseudoBuffer(uint64_t bytes) {
  const auto buffer = static_cast<uint32_t>(plan_.buffers_.size());
  plan_.buffers_.push_back({});
  scratch_bytes_[buffer] = bytes;
  return buffer;
}

void PlanBuilder::SetScratch(Step& step, uint64_t bytes) {
  step.scratch_buffer = AddPseudoBuffer(bytes);
}

QuantizedRef PlanBuilder::Quantized(const Node& reader, const std::string& value, uint64_t cols,
                                    DType weights) {
  QuantizedRef& known = quantized_[{value, segment_, weights}];
  if (known) return known;
  const size_t rows = std::max(options().chunk, options().max_outputs);
  known = {AddPseudoBuffer(QuantizedLayout(cols, rows).bytes), cols, weights};
  const ActivationRef place = Place(value);
  for (Step& step : plan_.steps_) {
    const bool makes_it = step.makes_rows && step.segment == segment_ &&
                          step.out.buffer == place.buffer && !step.quantized_out;
    if (!makes_it) continue;
    step.quantized_out = known;
    step.label += "+quantize";
    return known;
  }
  Step& step = AddStep(reader, RunQuantize);
  step.label = "quantize";
  step.in = {place};
  step.matrix = {};
  step.quantized_out = known;
  return known;
}

Step* PlanBuilder::LinearToExtend(const std::string& value) {
  Step& last = plan_.steps_.back();
  const bool is_free = last.takes_epilogue && !last.epilogue && last.segment == segment_;
  if (!is_free || last.out.buffer != Place(value).buffer || readers_[value] != 1) return nullptr;
  return &last;
}

std::span<const LowRank> PlanBuilder::LowRankOf(const std::string& matrix) const {
  if (!options().low_rank) return {};
  const auto found = options().low_rank->find(matrix);
  return found == options().low_rank->end() ? std::span<const LowRank>() : found->second;
}

const ActivationRef& PlanBuilder::BeforeGather(const std::string& value) const {
  const ActivationRef& place = Place(value);
  for (const Step& step : plan_.steps_) {
    if (step.index && step.out.buffer == place.buffer) return step.in[0];
  }
  return place;
}

void PlanBuilder::Fuse(Step& step, const Node& node) {
  step.label += "+" + node.op;
  step.fused.push_back(&node);
  places_[node.outputs[0]] = step.out;
}

const RopeTable* PlanBuilder::RopeTableOf(RopeSpec spec) {
  spec.context = plan_.options_.context;
  std::unique_ptr<RopeTable>& known = rope_tables_[spec];
  if (!known) {
    known = std::make_unique<RopeTable>(
        MakeRopeTable(spec, TensorOf(spec.inv_freq), plan_.options_.sizes_only));
  }
  return known.get();
}

void PlanBuilder::UseCache(size_t layer, size_t kv_heads, size_t head_dim, size_t window) {
  if (plan_.n_layers_ != 0 && (kv_heads != plan_.kv_heads_ || head_dim != plan_.head_dim_)) {
    throw Error("layers whose caches differ in shape are not supported");
  }
  plan_.n_layers_ = std::max(plan_.n_layers_, layer + 1);
  plan_.windows_.resize(plan_.n_layers_);
  plan_.windows_[layer] = window;
  plan_.kv_heads_ = kv_heads;
  plan_.head_dim_ = head_dim;
}

namespace {

// First and last step that touch a buffer.
struct Lifetime {
  size_t first = SIZE_MAX, last = 0;
  uint32_t first_segment = 0, last_segment = 0;
  void Touch(size_t step, uint32_t segment) {
    if (first == SIZE_MAX) first_segment = segment;
    first = std::min(first, step);
    last = std::max(last, step);
    last_segment = segment;
  }
  bool Overlaps(const Lifetime& other) const {
    return first <= other.last && other.first <= last;
  }
};

struct Placement {
  uint64_t offset, bytes;
  uint32_t buffer;
};

}  // namespace

// Every buffer gets the lowest offset at which it meets no buffer that lives at the same time, the
// largest first. A buffer that crosses a cut holds all rows while the steps pass over them chunk by
// chunk, so two such may share memory only if their rows do, that is if they are equally wide.
void PlanBuilder::AllocateArena() {
  std::vector<Buffer>& buffers = plan_.buffers_;
  std::vector<Lifetime> lifetimes(buffers.size());
  for (size_t i = 0; i < plan_.steps_.size(); ++i) {
    const Step& step = plan_.steps_[i];
    for (const ActivationRef& ref : step.in) lifetimes[ref.buffer].Touch(i, step.segment);
    for (const QuantizedRef& ref : {step.quantized_in, step.quantized_out}) {
      if (ref) lifetimes[ref.buffer].Touch(i, step.segment);
    }
    if (step.out.width != 0) lifetimes[step.out.buffer].Touch(i, step.segment);
    if (step.scratch_buffer != Step::kNoBuffer) {
      lifetimes[step.scratch_buffer].Touch(i, step.segment);
    }
  }
  lifetimes[plan_.output_.buffer].Touch(plan_.steps_.size(), segment_);

  const PlanOptions& options = plan_.options_;
  std::vector<Placement> order;
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    const Lifetime& life = lifetimes[i];
    buffers[i].crosses = life.first_segment != life.last_segment;
    uint64_t bytes = scratch_bytes_[i];
    if (bytes == 0) {
      const uint64_t rows = buffers[i].crosses              ? options.max_rows
                            : life.first_segment == segment_ ? options.max_outputs
                                                             : options.chunk;
      bytes = CheckedTimes(rows, CheckedTimes(buffers[i].row_floats, sizeof(float), kActivations),
                           kActivations);
    }
    order.push_back({0, CheckedPlus(bytes, 63, kActivations) / 64 * 64, i});
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Placement& a, const Placement& b) { return a.bytes > b.bytes; });
  for (size_t i = 0; i < order.size(); ++i) {
    Placement& mine = order[i];
    const Buffer& buffer = buffers[mine.buffer];
    std::vector<Placement> taken;
    for (size_t j = 0; j < i; ++j) {
      const Buffer& other = buffers[order[j].buffer];
      const bool rows_agree = buffer.crosses == other.crosses &&
                              (!buffer.crosses || buffer.row_floats == other.row_floats);
      if (!rows_agree || lifetimes[mine.buffer].Overlaps(lifetimes[order[j].buffer])) {
        taken.push_back(order[j]);
      }
    }
    std::sort(taken.begin(), taken.end(),
              [](const Placement& a, const Placement& b) { return a.offset < b.offset; });
    for (const Placement& other : taken) {
      if (mine.offset + mine.bytes <= other.offset) break;
      mine.offset = std::max(mine.offset, other.offset + other.bytes);
    }
    buffers[mine.buffer].arena_offset = mine.offset;
    plan_.arena_bytes_ =
        std::max(plan_.arena_bytes_, CheckedPlus(mine.offset, mine.bytes, kActivations));
  }
}

Plan::Plan(const Graph& graph, const FindTensor& find_tensor, const PlanOptions& options,
           RopeTables* rope_tables)
    : options_(options) {
  PlanBuilder builder(*this, graph, find_tensor, *rope_tables);
  for (const Node& node : graph.nodes) FindOp(node.op)->plan(builder, node);
  output_ = builder.Place(graph.outputs[0]);
  n_segments_ = builder.segment_ + 1;
  builder.AllocateArena();
  if (options.sizes_only) return;
  arena_ = ReservePages(arena_bytes_);
  if (!arena_) {
    throw Error("out of memory: the activations of " + std::to_string(options.max_rows) +
                " tokens need " + std::to_string(arena_bytes_ >> 20) + " MiB");
  }
}

Plan::~Plan() { ReleasePages(arena_, arena_bytes_); }

}  // namespace glint
