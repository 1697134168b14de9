// split_heads(qkv; heads, layout) -> q, k, v
//   qkv      (n_tokens, 3 * heads * head_dim); q, k, v (n_tokens, heads, head_dim), views of it
//   layout   "per_head": [q, k, v] of head 0, then of head 1, ...
//
// split_qkv(qkv; heads, kv_heads) -> q, k, v
//   qkv      (n_tokens, (heads + 2 * kv_heads) * head_dim): all heads of q, then of k, then of v
//   q        (n_tokens, heads, head_dim); k, v (n_tokens, kv_heads, head_dim), views of it
//
// attention(q, k, v, cache_index [, prefix_len]; layer, mask [, window, scale, softcap]) -> out
//   q        (n_tokens, heads, head_dim)
//   k, v     (n_tokens, kv_heads, head_dim); head h of q uses head h / (heads / kv_heads)
//   out      (n_tokens, heads * head_dim): softmax(scale * q k^T) v over the cache of `layer`
//   scale    absent or 0: 1 / sqrt(head_dim)
//   softcap  scores become softcap * tanh(score / softcap) before the mask (Gemma Team 2024, Gemma 2,
//            section 2); absent or 0: they stay as they are
//   mask     "causal": a token sees the cache up to itself; "prefix": the first prefix_len entries see
//            each other in both directions, the rest is causal (Du et al. 2022, section 2.1)
//   window   of a causal mask: the token at cache index i sees j <= i with i - j < window (Beltagy et
//            al. 2020, section 3.1; Hugging Face's sliding_window); 0, which its absence means: all
// It is two steps. All keys and values of a run are stored before any query looks, so that a prefix can
// be seen whole however it is cut into chunks.
#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/error.h"
#include "lib/ops/op_rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

// Positions whose keys are interleaved.
constexpr size_t kKeyLanes = 16;
// Tasks that a thread should find, so that all finish together.
constexpr size_t kTasksPerThread = 4;
// Register tiles of queries are filled best by multiples of this.
constexpr size_t kQueryQuantum = 6;
// Runs of at most so many rows split the keys, too, where the heads are too few for the threads.
constexpr size_t kSplitRows = 8;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxWindow = int64_t{1} << 30;

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
  const auto heads = static_cast<uint64_t>(IntOf(node, "heads"));
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

void InferSplitQkv(NodeCheck& check) {
  const int64_t width = check.ExpectActivation(0, 2);
  const int64_t heads = check.Int("heads"), kv_heads = check.Int("kv_heads");
  if (heads % kv_heads != 0) {
    check.Fail(std::to_string(heads) + " heads cannot share " + std::to_string(kv_heads) +
               " kv heads evenly");
  }
  const int64_t all = heads + 2 * kv_heads;
  if (width % all != 0) {
    check.Fail("width " + std::to_string(width) + " is not " + std::to_string(all) +
               " heads * head_dim");
  }
  for (const int64_t n : {heads, kv_heads, kv_heads}) check.Output({kTokens, n, width / all});
}

void PlanSplitQkv(PlanBuilder& builder, const Node& node) {
  const ActivationRef whole = builder.Place(node.inputs[0]);
  const auto count = [&](const char* name) {
    return static_cast<uint64_t>(IntOf(node, name));
  };
  const uint64_t heads[] = {count("heads"), count("kv_heads"), count("kv_heads")};
  ActivationRef view = whole;
  view.head_stride = whole.width / (heads[0] + heads[1] + heads[2]);
  for (size_t part = 0; part < 3; ++part) {
    view.heads = heads[part];
    view.width = view.heads * view.head_stride;
    builder.SetView(node.outputs[part], view);
    view.offset += view.width;
  }
}

// No model has a hundredth of it, and scratch memory for it fits 32 bits.
constexpr int64_t kMaxHeadDim = 1 << 16;

void InferAttention(NodeCheck& check) {
  const int64_t head_dim = check.ExpectActivation(0, 3);
  const Shape& q = check.Input(0).shape;
  const Shape& k = check.Input(1).shape;
  if (check.ExpectActivation(1, 3) != head_dim || check.Input(2).shape != k || q[1] % k[1] != 0) {
    check.Fail("q " + ToString(q) + ", k " + ToString(k) + " and v " +
               ToString(check.Input(2).shape) + " do not fit together");
  }
  check.ExpectActivation(2, 3);
  if (head_dim > kMaxHeadDim) {
    check.Fail("head_dim " + std::to_string(head_dim) + ", at most " + std::to_string(kMaxHeadDim));
  }
  check.ExpectInput(3, "cache_index");
  const bool prefix = check.Text("mask") == "prefix";
  if (prefix != (check.n_inputs() == 5)) check.Fail("mask 'prefix' goes with input 'prefix_len'");
  if (prefix) check.ExpectInput(4, "prefix_len");
  if (prefix && check.Int("window") != 0) check.Fail("attribute 'window' needs mask 'causal'");
  check.Output({kTokens, q[1] * head_dim});
}

void Store(const StepContext& c, const Step& step) {
  const ActivationRef &k = step.in[1], &v = step.in[2];
  const float* keys = c.Rows(k);
  const float* values = c.Rows(v);
  const auto store = c.kernels.kv_store[static_cast<size_t>(c.cache.type())];
  // A task takes the rows of 16 positions, whose keys lie interleaved, head by head: so their lines
  // stay in the cache until they are full.
  const size_t first = c.inputs.cache_begin + c.begin, last = first + c.n;
  const size_t tile_begin = first / kKeyLanes, tile_end = (last + kKeyLanes - 1) / kKeyLanes;
  c.pool.Run(tile_end - tile_begin, [&](size_t task, size_t) {
    const size_t tile = (tile_begin + task) * kKeyLanes;
    const size_t begin = std::max(tile, first), end = std::min(tile + kKeyLanes, last);
    for (size_t h = 0; h < step.kv_heads; ++h) {
      const KvBlock block = c.cache.Block(step.layer, h, tile / kKeyBlock);
      for (size_t i = begin; i < end; ++i) {
        store(keys + (i - first) * c.Stride(k) + h * k.head_stride,
              values + (i - first) * c.Stride(v) + h * v.head_stride, step.head_dim, block,
              i % kKeyBlock);
      }
    }
  });
}

// How much of the cache sees itself in both directions: nothing if the mask is causal, whatever the
// sequence is.
size_t PrefixOf(const RunInputs& inputs, const Step& step) {
  return step.inputs.back() == InputId::kPrefixLen ? inputs.prefix_len : 0;
}

// Cache indices that the row at cache index i sees: [VisibleBegin, VisibleEnd).
size_t VisibleBegin(size_t window, size_t i) { return window == 0 || i < window ? 0 : i + 1 - window; }
size_t VisibleEnd(size_t prefix_len, size_t i) { return i < prefix_len ? prefix_len : i + 1; }

size_t BlocksOf(size_t keys) { return (keys + kKeyBlock - 1) / kKeyBlock; }

// States of queries, as attention_block keeps them.
struct States {
  float* maximum;  // (n)
  float* sum;      // (n)
  float* out;      // (n, head_dim)

  static uint64_t Floats(uint64_t n, uint64_t head_dim) { return n * (head_dim + 2); }
  States(float* memory, size_t n) : maximum(memory), sum(memory + n), out(memory + 2 * n) {}
  States(const States& from, size_t first, size_t head_dim)
      : maximum(from.maximum + first), sum(from.sum + first), out(from.out + first * head_dim) {}
  void Clear(size_t n, size_t head_dim) const {
    std::fill(maximum, maximum + n, -std::numeric_limits<float>::infinity());
    std::fill(sum, sum + n, -0.0f);
    std::fill(out, out + n * head_dim, -0.0f);
  }
};

// Scratch floats, a multiple of 16: of one worker, and of the states of a run whose keys are split.
uint64_t WorkerFloats(size_t head_dim) {
  return (AttentionScratch(kMaxQueries, head_dim) + States::Floats(kMaxQueries, head_dim) + 15) /
         16 * 16;
}
uint64_t SplitFloats(const PlanOptions& options, size_t window, size_t heads, size_t head_dim) {
  const uint64_t rows = std::min(options.max_rows, kSplitRows);
  size_t blocks = BlocksOf(options.prefix + options.context);
  // A span that need not begin with a block.
  if (window != 0) blocks = std::min(blocks, BlocksOf(window + rows) + 1);
  return States::Floats(rows * heads * blocks, head_dim);
}

// How a run is cut. The queries that share a kv head's keys (all rows, and of each row the heads
// that use it, row by row) are cut into groups; where those are too few for the threads, so are the
// keys, block by block. Neither shows in the result: blocks join in order, on their way or later.
class AttentionRun {
 public:
  AttentionRun(const StepContext& context, const Step& step)
      : c_(context),
        step_(step),
        sharers_(step.heads / step.kv_heads),
        n_queries_(context.n * sharers_),
        prefix_len_(PrefixOf(context.inputs, step)),
        attend_(context.kernels.attention_block[static_cast<size_t>(context.cache.type())]) {
    const size_t wanted = kTasksPerThread * context.pool.size();
    const size_t share = (n_queries_ * step.kv_heads + wanted - 1) / wanted;
    group_ = std::min(kMaxQueries, RoundUp(share, kQueryQuantum));
    groups_ = (n_queries_ + group_ - 1) / group_;
    group_ = RoundUp((n_queries_ + groups_ - 1) / groups_, kQueryQuantum);
    const size_t first_row = context.inputs.cache_begin + context.begin;
    const size_t last = first_row + context.n - 1;
    first_block_ = FirstBlock(0);
    blocks_ = BlocksOf(std::max(VisibleEnd(prefix_len_, first_row), last + 1)) - first_block_;
    split_ = context.n <= kSplitRows && blocks_ > 1 && groups_ * step.kv_heads < wanted;
  }

  void Run() const {
    float* scratch = reinterpret_cast<float*>(c_.Scratch(step_));
    float* workers = scratch;
    const size_t worker_floats = WorkerFloats(step_.head_dim);
    const size_t tasks = groups_ * step_.kv_heads;
    if (!split_) {
      c_.pool.Run(tasks, [&](size_t task, size_t worker) {
        AttendGroup(task / groups_, task % groups_ * group_, workers + worker * worker_floats);
      });
      return;
    }
    // (blocks, heads, queries of a head)
    const States states(scratch + c_.pool.size() * worker_floats, blocks_ * AllQueries());
    c_.pool.Run(tasks * blocks_, [&](size_t task, size_t worker) {
      const size_t block = task % blocks_, group = task / blocks_;
      const size_t head = group / groups_, begin = group % groups_ * group_;
      const States part(states, block * AllQueries() + head * n_queries_ + begin, step_.head_dim);
      const size_t key_block = first_block_ + block;
      Attend(head, begin, key_block, key_block + 1, part, workers + worker * worker_floats);
    });
    c_.pool.Run(step_.kv_heads, [&](size_t head, size_t) {
      Finish(head, 0, n_queries_, States(states, head * n_queries_, step_.head_dim), blocks_);
    });
  }

 private:
  static size_t RoundUp(size_t n, size_t quantum) { return (n + quantum - 1) / quantum * quantum; }
  size_t AllQueries() const { return n_queries_ * step_.kv_heads; }
  // The first block of keys that a query, or a later one, sees.
  size_t FirstBlock(size_t query) const {
    const size_t row = c_.inputs.cache_begin + c_.begin + query / sharers_;
    return VisibleBegin(step_.window, row) / kKeyBlock;
  }

  // Queries [begin, begin + group_) of a kv head over all keys.
  void AttendGroup(size_t head, size_t begin, float* scratch) const {
    const States states(scratch + AttentionScratch(kMaxQueries, step_.head_dim), kMaxQueries);
    const size_t n =
        Attend(head, begin, FirstBlock(begin), first_block_ + blocks_, states, scratch);
    Finish(head, begin, n, states, 1);
  }

  // The same over some key blocks, into `states`. Returns how many queries these are.
  size_t Attend(size_t head, size_t begin, size_t block_begin, size_t block_end,
                const States& states, float* scratch) const {
    const ActivationRef& q = step_.in[0];
    const size_t n = std::min(group_, n_queries_ - begin);
    AttentionQuery queries[kMaxQueries];
    for (size_t i = 0; i < n; ++i) {
      const size_t row = (begin + i) / sharers_, sharer = (begin + i) % sharers_;
      const size_t index = c_.inputs.cache_begin + c_.begin + row;
      queries[i] = {c_.Rows(q) + row * c_.Stride(q) + (head * sharers_ + sharer) * q.head_stride,
                    static_cast<int32_t>(VisibleBegin(step_.window, index)),
                    static_cast<int32_t>(VisibleEnd(prefix_len_, index))};
    }
    states.Clear(n, step_.head_dim);
    AttentionBlock block;
    block.queries = queries;
    block.n_queries = n;
    block.head_dim = step_.head_dim;
    block.scale = step_.scale;
    block.softcap = step_.softcap;
    block.maximum = states.maximum;
    block.sum = states.sum;
    block.out = states.out;
    block.out_stride = step_.head_dim;
    block.scratch = scratch;
    for (size_t b = block_begin; b < block_end; ++b) {
      block.kv = c_.cache.Block(step_.layer, head, b);
      block.key_begin = b * kKeyBlock;
      attend_(block);
    }
    return n;
  }

  // Joins the `parts` states of each query, which lie AllQueries() apart, and writes the outputs.
  void Finish(size_t head, size_t begin, size_t n, const States& states, size_t parts) const {
    for (size_t i = 0; i < n; ++i) {
      const size_t row = (begin + i) / sharers_, sharer = (begin + i) % sharers_;
      c_.kernels.attention_combine(
          states.maximum + i, states.sum + i, AllQueries(), states.out + i * step_.head_dim,
          AllQueries() * step_.head_dim, parts, step_.head_dim,
          c_.Rows(step_.out) + row * c_.Stride(step_.out) +
              (head * sharers_ + sharer) * step_.head_dim);
    }
  }

  const StepContext& c_;
  const Step& step_;
  size_t sharers_;    // heads of q that use one kv head
  size_t n_queries_;  // of a kv head
  size_t prefix_len_;
  size_t group_, groups_;
  size_t first_block_, blocks_;  // blocks of keys that any of the rows sees
  bool split_;
  void (*attend_)(const AttentionBlock&);
};

void Attend(const StepContext& c, const Step& step) { AttentionRun(c, step).Run(); }

void PlanAttention(PlanBuilder& builder, const Node& node) {
  const ActivationRef q = builder.Place(node.inputs[0]);
  const ActivationRef k = builder.Place(node.inputs[1]);
  const size_t head_dim = q.width / q.heads;
  const auto layer = static_cast<size_t>(IntOf(node, "layer"));
  const auto window = static_cast<size_t>(IntOf(node, "window"));
  const auto scale = static_cast<float>(RealOf(node, "scale"));
  const auto softcap = static_cast<float>(RealOf(node, "softcap"));
  const auto describe = [&](Step& step) {
    step.heads = q.heads;
    step.kv_heads = k.heads;
    step.head_dim = head_dim;
    step.layer = layer;
    step.window = window;
    step.scale = scale != 0 ? scale : 1.0f / std::sqrt(static_cast<float>(head_dim));
    step.softcap = softcap;
  };
  builder.UseCache(layer, k.heads, head_dim, window);
  Step& store = builder.AddStep(node, Store);
  store.label = "attention.store";
  describe(store);
  // q crosses the cut; k and v are in the cache by then.
  builder.CutSegment();
  Step& attend = builder.AddStep(node, Attend);
  attend.in.resize(1);
  describe(attend);
  builder.SetOutput(attend, node, q.width);
  const PlanOptions& options = builder.options();
  const uint64_t floats = options.n_threads * WorkerFloats(head_dim) +
                          SplitFloats(options, window, q.heads, head_dim);
  builder.SetScratch(attend, floats * sizeof(float));
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

Op SplitQkvOp() {
  return {"split_qkv",
          1,
          1,
          3,
          {{"heads", AttributeSpec::Type::kInt, 1, kMaxHeads},
           {"kv_heads", AttributeSpec::Type::kInt, 1, kMaxHeads}},
          InferSplitQkv,
          PlanSplitQkv};
}

Op AttentionOp() {
  return {"attention",
          4,
          5,
          1,
          {{"layer", AttributeSpec::Type::kInt, 0, kMaxLayers - 1},
           {"mask", AttributeSpec::Type::kText, 0, 0, {"causal", "prefix"}},
           {"window", AttributeSpec::Type::kInt, 0, kMaxWindow, {}, int64_t{0}},
           {"scale", AttributeSpec::Type::kReal, 0, 1e6, {}, 0.0},
           {"softcap", AttributeSpec::Type::kReal, 0, 1e6, {}, 0.0}},
          InferAttention,
          PlanAttention};
}

}  // namespace glint
