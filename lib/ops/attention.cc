// split_heads(qkv; heads, layout) -> q, k, v
//   qkv      (n_tokens, 3 * heads * head_dim); q, k, v (n_tokens, heads, head_dim), views of it
//   layout   "per_head": [q, k, v] of head 0, then of head 1, ...
//
// attention(q, k, v, cache_index [, prefix_len]; layer, mask) -> out
//   q        (n_tokens, heads, head_dim)
//   k, v     (n_tokens, kv_heads, head_dim); head h of q uses head h / (heads / kv_heads)
//   out      (n_tokens, heads * head_dim): softmax(q k^T / sqrt(head_dim)) v over the cache of `layer`
//   mask     "causal": a token sees the cache up to itself; "prefix": the first prefix_len entries see
//            each other in both directions, the rest is causal (Du et al. 2022, section 2.1)
// It is two steps. All keys and values of a run are stored before any query looks, so that a prefix can
// be seen whole however it is cut into chunks.
#include <algorithm>
#include <cmath>

#include "lib/error.h"
#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

// Queries that go through a key block together, reusing its keys.
constexpr size_t kQueryGroup = 16;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 4096;

void InferSplit(NodeCheck& check) {
  const int64_t width = check.ExpectActivation(0, 2);
  const int64_t heads = check.Int("heads");
  if (width % (3 * heads) != 0) {
    check.Fail("width " + std::to_string(width) + " is not 3 * " + std::to_string(heads) +
               " heads * head_dim");
  }
  for (int i = 0; i < 3; ++i) check.Output({kTokens, heads, width / (3 * heads)});
}

void PlanSplit(PlanBuilder& builder, const Node& node) {
  const ActivationRef& whole = builder.Place(node.inputs[0]);
  const auto heads = static_cast<uint64_t>(std::get<int64_t>(node.attributes.at("heads")));
  const uint64_t head_dim = whole.width / (3 * heads);
  for (uint64_t part = 0; part < 3; ++part) {
    ActivationRef view = whole;
    view.offset = whole.offset + part * head_dim;
    view.width = heads * head_dim;
    view.heads = heads;
    view.head_stride = 3 * head_dim;
    builder.SetView(node.outputs[part], view);
  }
}

void InferAttention(NodeCheck& check) {
  const int64_t head_dim = check.ExpectActivation(0, 3);
  const Shape& q = check.Input(0).shape;
  const Shape& k = check.Input(1).shape;
  if (check.ExpectActivation(1, 3) != head_dim || check.Input(2).shape != k || q[1] % k[1] != 0) {
    check.Fail("q " + ToString(q) + ", k " + ToString(k) + " and v " +
               ToString(check.Input(2).shape) + " do not fit together");
  }
  check.ExpectActivation(2, 3);
  check.ExpectInput(3, "cache_index");
  const bool prefix = check.Text("mask") == "prefix";
  if (prefix != (check.n_inputs() == 5)) check.Fail("mask 'prefix' goes with input 'prefix_len'");
  if (prefix) check.ExpectInput(4, "prefix_len");
  check.Output({kTokens, q[1] * head_dim});
}

void Store(const StepContext& c, const Step& step) {
  const ActivationRef &k = step.in[1], &v = step.in[2];
  const float* keys = c.Rows(k);
  const float* values = c.Rows(v);
  const auto store = c.kernels.kv_store[static_cast<size_t>(c.cache.type())];
  const size_t first = c.inputs.cache_begin + c.begin;
  ForRows(c.pool, c.n, k.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t h = 0; h < step.kv_heads; ++h) {
        store(keys + t * c.Stride(k) + h * k.head_stride,
              values + t * c.Stride(v) + h * v.head_stride, step.head_dim,
              c.cache.Head(step.layer, h), first + t);
      }
    }
  });
}

// Cache indices that the row at cache index i sees: [0, result).
size_t VisibleEnd(const RunInputs& inputs, size_t i) {
  return i < inputs.prefix_len ? inputs.prefix_len : i + 1;
}

size_t BlocksOf(size_t keys) { return (keys + kKeyBlock - 1) / kKeyBlock; }

// Scratch floats of one worker: per key block, maximum, sum and output of each query of a group.
size_t WorkerFloats(size_t context, size_t head_dim) {
  return BlocksOf(context) * kQueryGroup * (head_dim + 2);
}

// Queries [begin, begin + n) of one head, n <= kQueryGroup: every key block on its own, then the
// blocks in order, always in this form, so that the split of the work cannot show in the result.
void AttendGroup(const StepContext& c, const Step& step, size_t head, size_t begin, size_t n,
                 float* scratch) {
  const ActivationRef& q = step.in[0];
  int32_t visible[2 * kQueryGroup];
  size_t keys = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t end = VisibleEnd(c.inputs, c.inputs.cache_begin + c.begin + begin + i);
    visible[2 * i] = 0;
    visible[2 * i + 1] = static_cast<int32_t>(end);
    keys = std::max(keys, end);
  }
  const size_t blocks = BlocksOf(keys);
  float* maximum = scratch;                      // (blocks, kQueryGroup)
  float* sum = maximum + blocks * kQueryGroup;   // (blocks, kQueryGroup)
  float* partial = sum + blocks * kQueryGroup;   // (blocks, kQueryGroup, head_dim)

  AttentionBlock block;
  block.q = c.Rows(q) + begin * c.Stride(q) + head * q.head_stride;
  block.q_stride = c.Stride(q);
  block.n_queries = n;
  block.head_dim = step.head_dim;
  block.kv = c.cache.Head(step.layer, head / (step.heads / step.kv_heads));
  block.visible = visible;
  block.scale = step.scale;
  block.out_stride = step.head_dim;
  const auto attend = c.kernels.attention_block[static_cast<size_t>(c.cache.type())];
  for (size_t b = 0; b < blocks; ++b) {
    block.key_begin = b * kKeyBlock;
    block.maximum = maximum + b * kQueryGroup;
    block.sum = sum + b * kQueryGroup;
    block.out = partial + b * kQueryGroup * step.head_dim;
    attend(block);
  }
  float* out = c.Rows(step.out) + begin * c.Stride(step.out) + head * step.head_dim;
  for (size_t i = 0; i < n; ++i) {
    c.kernels.attention_combine(maximum + i, sum + i, kQueryGroup, partial + i * step.head_dim,
                                kQueryGroup * step.head_dim, blocks, step.head_dim,
                                out + i * c.Stride(step.out));
  }
}

void Attend(const StepContext& c, const Step& step) {
  const size_t groups = (c.n + kQueryGroup - 1) / kQueryGroup;
  float* scratch = reinterpret_cast<float*>(c.Scratch(step));
  const size_t worker_floats = WorkerFloats(c.cache.capacity(), step.head_dim);
  c.pool.Run(groups * step.heads, [&](size_t task, size_t worker) {
    const size_t begin = task % groups * kQueryGroup;
    AttendGroup(c, step, task / groups, begin, std::min(kQueryGroup, c.n - begin),
                scratch + worker * worker_floats);
  });
}

void PlanAttention(PlanBuilder& builder, const Node& node) {
  const ActivationRef q = builder.Place(node.inputs[0]);
  const ActivationRef k = builder.Place(node.inputs[1]);
  const size_t head_dim = q.width / q.heads;
  const auto layer = static_cast<size_t>(std::get<int64_t>(node.attributes.at("layer")));
  const auto describe = [&](Step& step) {
    step.heads = q.heads;
    step.kv_heads = k.heads;
    step.head_dim = head_dim;
    step.layer = layer;
    step.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  };
  builder.UseCache(layer, k.heads, head_dim);
  Step& store = builder.AddStep(node, Store);
  store.label = "attention.store";
  describe(store);
  // q crosses the cut; k and v are in the cache by then.
  builder.CutSegment();
  Step& attend = builder.AddStep(node, Attend);
  attend.in.resize(1);
  describe(attend);
  builder.SetOutput(attend, node, q.width);
  builder.SetScratch(attend, builder.options().n_threads *
                                 WorkerFloats(builder.options().context + kKeyBlock, head_dim) *
                                 sizeof(float));
}

}  // namespace

Op SplitHeadsOp() {
  return {"split_heads",
          1,
          1,
          3,
          {{"heads", AttributeSpec::Type::kInt, 1, kMaxHeads},
           {"layout", AttributeSpec::Type::kText, 0, 0, {"per_head"}}},
          InferSplit,
          PlanSplit};
}

Op AttentionOp() {
  return {"attention",
          4,
          5,
          1,
          {{"layer", AttributeSpec::Type::kInt, 0, kMaxLayers - 1},
           {"mask", AttributeSpec::Type::kText, 0, 0, {"causal", "prefix"}}},
          InferAttention,
          PlanAttention};
}

}  // namespace glint
