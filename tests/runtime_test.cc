// The runtime's parts that need no checkpoint: thread pool, sampler, position schemes, graph checks.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>

#include "lib/builder.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "lib/fp_mode.h"
#include "lib/kv_cache.h"
#include "lib/plan.h"
#include "lib/positions.h"
#include "lib/sampler.h"
#include "lib/thread_pool.h"

using namespace glint;

TEST_CASE("every task of every job runs exactly once") {
  for (const size_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    for (int job = 0; job < 2000; ++job) {
      const size_t n = static_cast<size_t>(job % 37);
      std::vector<std::atomic<int>> runs(n);
      std::atomic<bool> workers_ok{true};
      pool.Run(n, [&](size_t task, size_t worker) {
        runs[task].fetch_add(1);
        if (worker >= threads) workers_ok = false;
      });
      bool once = true;
      for (const auto& count : runs) once = once && count.load() == 1;
      REQUIRE(once);
      REQUIRE(workers_ok);
    }
  }
}

TEST_CASE("a pool whose workers have gone to sleep wakes up again") {
  ThreadPool pool(4);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> sum{0};
    pool.Run(100, [&](size_t task, size_t) { sum += static_cast<int>(task); });
    CHECK(sum == 4950);
  }
}

TEST_CASE("the floating-point mode is set for a scope and given back") {
  std::fesetround(FE_UPWARD);
  {
    const FpModeScope scope;
    volatile float third = 1.0f;
    third = third / 3.0f;
    CHECK(third == 0x1.555556p-2f);  // to nearest
  }
  CHECK(std::fegetround() == FE_UPWARD);
  std::fesetround(FE_TONEAREST);
}

TEST_CASE("greedy takes the largest logit, the lowest id of equal ones") {
  const float logits[] = {0.5f, 2.0f, -1.0f, 2.0f};
  CHECK(Sampler::Greedy(logits) == 1);
  SamplerOptions options;
  options.temperature = 0;
  CHECK(Sampler(options, 4).Sample(logits, {}) == 1);
}

TEST_CASE("sampling follows the probabilities and the seed") {
  // Probabilities 0.5, 0.3, 0.15, 0.05.
  const float logits[] = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  SamplerOptions options;
  options.temperature = 1;
  options.top_p = 1;
  options.top_k = 0;
  options.seed = 42;
  Sampler sampler(options, 4), again(options, 4);
  int counts[4] = {};
  for (int i = 0; i < 20000; ++i) {
    const int32_t id = sampler.Sample(logits, {});
    CHECK(again.Sample(logits, {}) == id);
    ++counts[id];
  }
  CHECK(counts[0] == doctest::Approx(10000).epsilon(0.03));
  CHECK(counts[1] == doctest::Approx(6000).epsilon(0.03));
  CHECK(counts[2] == doctest::Approx(3000).epsilon(0.06));
  CHECK(counts[3] == doctest::Approx(1000).epsilon(0.12));
}

TEST_CASE("top-k and top-p cut the tail off") {
  const float logits[] = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  const auto seen = [&](float top_p, uint32_t top_k) {
    SamplerOptions options;
    options.temperature = 1;
    options.top_p = top_p;
    options.top_k = top_k;
    Sampler sampler(options, 4);
    std::set<int32_t> ids;
    for (int i = 0; i < 2000; ++i) ids.insert(sampler.Sample(logits, {}));
    return ids;
  };
  CHECK(seen(1.0f, 2) == std::set<int32_t>{0, 1});
  CHECK(seen(0.7f, 0) == std::set<int32_t>{0, 1});      // 0.5 < 0.7 <= 0.8
  CHECK(seen(0.1f, 0) == std::set<int32_t>{0});         // at least one
  CHECK(seen(1.0f, 0) == std::set<int32_t>{0, 1, 2, 3});
}

TEST_CASE("the repetition penalty counts an id once, whatever the sign of its logit") {
  SamplerOptions options;
  options.temperature = 0;
  options.repetition_penalty = 2;
  Sampler sampler(options, 3);
  const float positive[] = {3.0f, 2.0f, 0.0f};
  const int32_t history[] = {0, 0, 0};
  CHECK(sampler.Sample(positive, history) == 1);  // 3 / 2 < 2, but 3 / 8 is not needed
  const float close[] = {5.0f, 2.0f, 0.0f};
  CHECK(sampler.Sample(close, history) == 0);     // 5 / 2 > 2; 5 / 8 would not be
  const float negative[] = {-1.0f, -1.5f, -9.0f};
  CHECK(sampler.Sample(negative, history) == 1);  // -1 * 2 < -1.5
}

TEST_CASE("GLM's two-dimensional positions") {
  const PositionScheme* scheme = FindPositionScheme("glm-2d");
  REQUIRE(scheme);
  CHECK(FindPositionScheme("glm-3d") == nullptr);
  PromptIds ids;
  ids.mask = 100;
  ids.gmask = 101;
  ids.sop = 102;
  SequencePositions sequence;
  std::string why;
  const auto at = [&](size_t i) {
    int32_t out[2];
    scheme->at(sequence, i, out);
    return std::pair<int32_t, int32_t>(out[0], out[1]);
  };
  const std::vector<int32_t> mask_inside = {5, 100, 6, 7, 102, 8};
  REQUIRE(scheme->start(mask_inside, ids, &sequence, &why));
  CHECK(sequence.prefix_len == 4);
  CHECK(at(0) == std::pair<int32_t, int32_t>(0, 0));
  CHECK(at(3) == std::pair<int32_t, int32_t>(3, 0));
  CHECK(at(4) == std::pair<int32_t, int32_t>(1, 1));  // <sop> stands where [MASK] does
  CHECK(at(9) == std::pair<int32_t, int32_t>(1, 6));
  const std::vector<int32_t> both = {100, 5, 101, 102};
  REQUIRE(scheme->start(both, ids, &sequence, &why));
  CHECK(sequence.mask_at == 2);  // [gMASK] wins
  const std::vector<int32_t> no_sop = {5, 101}, no_mask = {5, 102};
  CHECK_FALSE(scheme->start(no_sop, ids, &sequence, &why));
  CHECK(why.find("<sop>") != std::string::npos);
  CHECK_FALSE(scheme->start(no_mask, ids, &sequence, &why));
  CHECK(why.find("[gMASK]") != std::string::npos);
}

namespace {

std::vector<Tensor> SomeTensors() {
  const auto tensor = [](const char* name, DType dtype, std::vector<uint64_t> shape) {
    Tensor t;
    t.name = name;
    t.dtype = dtype;
    t.shape = std::move(shape);
    return t;
  };
  return {tensor("table", DType::kInt8, {100, 32}), tensor("w", DType::kInt4, {48, 32}),
          tensor("b", DType::kF32, {48}), tensor("bad_bias", DType::kF32, {47}),
          tensor("norm", DType::kF32, {32}), tensor("freq", DType::kF32, {4})};
}

// The message of the Error that `fn` throws, or "".
template <class Fn>
std::string MessageOf(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the builder infers shapes and refuses what does not fit, by name") {
  const std::vector<Tensor> tensors = SomeTensors();
  GraphBuilder g("main", {"ids", "position.0", "position.1", "cache_index"}, tensors, "test");
  const auto x = g.Embedding(g.Input("ids"), "table");
  const auto y = g.Linear(x, "w", "b", "qkv");
  CHECK_THROWS_AS(g.Input("memory"), Error);
  CHECK(MessageOf([&] { g.Linear(y, "w", "b", "again"); }).find("matrix of 48 columns") !=
        std::string::npos);
  CHECK(MessageOf([&] { g.Linear(x, "w", "bad_bias", "again"); }).find("'bad_bias'") !=
        std::string::npos);
  CHECK(MessageOf([&] { g.Linear(x, "nothing", "", "again"); }).find("'nothing' does not exist") !=
        std::string::npos);
  CHECK(MessageOf([&] { g.LayerNorm(x, "norm", "b", 1e-5); }).find("(32)") != std::string::npos);
  CHECK(MessageOf([&] { g.Gelu(x, "erf"); }).find("known: tanh") != std::string::npos);
  CHECK(MessageOf([&] { g.SplitHeads(y, 5, "per_head"); }).find("5 heads") != std::string::npos);
  CHECK(MessageOf([&] { g.AddScaled(x, 1.0, y); }).find("inputs differ") != std::string::npos);
  GraphBuilder::Heads heads = g.SplitHeads(y, 2, "per_head");
  heads.q = g.Rope(heads.q, "freq", {g.Input("position.0")});
  CHECK(MessageOf([&] {
          g.Rope(heads.k, "freq", {g.Input("position.0"), g.Input("position.1")});
        }).find("(2)") != std::string::npos);
  CHECK(MessageOf([&] { g.Attention(heads, -1, "causal"); }).find("'layer'") != std::string::npos);
  const Graph graph = g.Finish(g.Attention(heads, 0, "causal"), "logits");
  CHECK(graph.outputs == std::vector<std::string>{"logits"});
  CHECK(graph.nodes.back().outputs == graph.outputs);
}

TEST_CASE("a tensor cannot stand in for a graph input that is not declared") {
  std::vector<Tensor> tensors = SomeTensors();
  tensors.push_back(tensors[4]);
  tensors.back().name = "prefix_len";
  GraphBuilder g("main", {"ids"}, tensors, "test");
  const auto x = g.Embedding(g.Input("ids"), "table");
  CHECK(MessageOf([&] { g.LayerNorm(x, "prefix_len", "norm", 1e-5); }).find("'prefix_len'") !=
        std::string::npos);
}

TEST_CASE("a graph with an unknown op, attribute or input is refused by name") {
  const std::vector<Tensor> tensors = SomeTensors();
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  };
  Graph graph;
  graph.inputs = {"ids"};
  graph.outputs = {"x"};
  graph.nodes = {{"embedding", {"ids", "table"}, {"x"}, {}}};
  CHECK(CheckGraph("file", graph, find).at("x").shape == Shape{kTokens, 32});
  Graph changed = graph;
  changed.nodes[0].op = "wormhole";
  CHECK(MessageOf([&] { CheckGraph("file", changed, find); }).find("'wormhole'") !=
        std::string::npos);
  changed = graph;
  changed.nodes[0].attributes["scale"] = 2.0;
  CHECK(MessageOf([&] { CheckGraph("file", changed, find); }).find("unknown attribute 'scale'") !=
        std::string::npos);
  changed = graph;
  changed.inputs = {"ids", "soul"};
  CHECK(MessageOf([&] { CheckGraph("file", changed, find); }).find("'soul'") != std::string::npos);
  changed = graph;
  changed.nodes[0].outputs = {"prefix_len"};
  CHECK(MessageOf([&] { CheckGraph("file", changed, find); }).find("name of a graph input") !=
        std::string::npos);
  changed = graph;
  changed.nodes.push_back(graph.nodes[0]);
  CHECK(MessageOf([&] { CheckGraph("file", changed, find); }).find("exists already") !=
        std::string::npos);
}

namespace {

// A graph of one attention whose heads of q come from one projection, and whose keys and values
// from another with as many heads as `source` has. Numbers are waves, so that heads can be repeated.
struct AttentionModel {
  static constexpr size_t kVocab = 64, kWidth = 32, kHeadDim = 20;
  std::vector<Tensor> tensors;
  std::vector<std::vector<float>> data;
  Graph graph;

  // kv head h holds what `source[h]` says.
  AttentionModel(int64_t heads, const std::vector<size_t>& source) {
    data.reserve(3);
    const auto wave = [](size_t r, size_t c) {
      return std::sin(static_cast<float>(r * 37 + c * 11 + r * c));
    };
    Add("table", kVocab, wave);
    Add("q", 3 * static_cast<size_t>(heads) * kHeadDim, wave);
    Add("kv", 3 * source.size() * kHeadDim, [&](size_t r, size_t c) {
      return wave(source[r / (3 * kHeadDim)] * 1000 + r % (3 * kHeadDim), c);
    });
    GraphBuilder g("main", {"ids", "cache_index", "prefix_len"}, tensors, "test");
    const auto x = g.Embedding(g.Input("ids"), "table");
    GraphBuilder::Heads split = g.SplitHeads(g.Linear(x, "q", "", "q_rows"), heads, "per_head");
    g.SetPrefix("kv");
    const auto kv = g.SplitHeads(g.Linear(x, "kv", "", "kv_rows"),
                                 static_cast<int64_t>(source.size()), "per_head");
    split.k = kv.k;
    split.v = kv.v;
    graph = g.Finish(g.Attention(split, 0, "prefix"), "out");
  }
  template <class Number>
  void Add(const char* name, size_t rows, const Number& number) {
    // Whole tiles of 16 rows, from a 64-byte line on.
    std::vector<float>& memory = data.emplace_back((rows + 15) / 16 * 16 * kWidth + 16);
    float* to = memory.data();
    while (reinterpret_cast<uintptr_t>(to) % 64 != 0) ++to;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < kWidth; ++c) to[(r / 16 * kWidth + c) * 16 + r % 16] = number(r, c);
    }
    Tensor tensor;
    tensor.name = name;
    tensor.shape = {rows, kWidth};
    tensor.data = reinterpret_cast<const uint8_t*>(to);
    tensor.bytes = (rows + 15) / 16 * 16 * kWidth * sizeof(float);
    tensors.push_back(tensor);
  }
};

struct AttentionSplit {
  KvType kv;
  size_t threads, chunk, max_rows;  // max_rows: tokens per run
};

// Outputs of n tokens, of which the first `prefix` see each other.
std::vector<float> Attend(const AttentionModel& model, const AttentionSplit& split, size_t n,
                          size_t prefix) {
  PlanOptions options;
  options.max_rows = std::max(split.max_rows, prefix);
  options.chunk = std::min(split.chunk, options.max_rows);
  options.max_outputs = options.chunk;
  options.context = n;
  options.n_threads = split.threads;
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor& tensor : model.tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  };
  RopeTables tables;
  const Plan plan(model.graph, find, options, &tables);
  ThreadPool pool(split.threads);
  const KvCache cache(1, plan.kv_heads(), plan.head_dim(), n, split.kv);
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i * i % AttentionModel::kVocab);
  std::vector<float> all;
  const auto collect = [&](size_t, size_t rows, const float* out, size_t stride) {
    const size_t width = plan.output().width;
    for (size_t i = 0; i < rows; ++i) {
      all.insert(all.end(), out + i * stride, out + i * stride + width);
    }
  };
  for (size_t begin = 0; begin < n;) {
    RunInputs inputs;
    inputs.n = begin == 0 ? std::max(prefix, split.max_rows) : split.max_rows;
    inputs.n = std::min(inputs.n, n - begin);
    inputs.ids = ids.data() + begin;
    inputs.cache_begin = begin;
    inputs.prefix_len = prefix;
    const OutputSink sink(collect);
    CHECK(Execute(plan, inputs, inputs.n, ChooseKernels(), pool, cache, nullptr, sink) ==
          Status::kOk);
    begin += inputs.n;
  }
  return all;
}

}  // namespace

TEST_CASE("attention: threads, chunks, runs and shared kv heads do not change a bit") {
  const size_t n = 600;  // three blocks of keys
  const AttentionModel shared(6, {0, 1}), repeated(6, {0, 0, 0, 1, 1, 1});
  for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
    CAPTURE(std::string(Name(kv)));
    for (const size_t prefix : {size_t{0}, size_t{70}}) {
      const std::vector<float> want = Attend(shared, {kv, 1, 512, n}, n, prefix);
      REQUIRE(want.size() == n * 6 * AttentionModel::kHeadDim);
      CHECK(std::all_of(want.begin(), want.end(), [](float v) { return std::isfinite(v); }));
      CHECK(Attend(repeated, {kv, 2, 64, n}, n, prefix) == want);
      CHECK(Attend(shared, {kv, 3, 7, n}, n, prefix) == want);
      CHECK(Attend(shared, {kv, 16, 512, 1}, n, prefix) == want);  // keys split, too
      CHECK(Attend(shared, {kv, 2, 4, 4}, n, prefix) == want);
    }
  }
}

namespace {

// A graph's outputs for n tokens in chunks.
std::vector<float> RunGraph(const Graph& graph, const FindTensor& find, size_t n, size_t chunk,
                            size_t max_outputs, std::string* labels = nullptr) {
  CheckGraph("test", graph, find);
  PlanOptions options;
  options.max_rows = options.context = n;
  options.chunk = chunk;
  options.max_outputs = max_outputs;
  options.n_threads = 2;
  RopeTables tables;
  const Plan plan(graph, find, options, &tables);
  if (labels) {
    for (const Step& step : plan.steps()) *labels += step.label + " ";
  }
  ThreadPool pool(2);
  const KvCache cache(std::max<size_t>(1, plan.n_layers()), std::max<size_t>(1, plan.kv_heads()),
                      std::max<size_t>(1, plan.head_dim()), n, KvType::kF32);
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i * 7 % AttentionModel::kVocab);
  RunInputs inputs;
  inputs.n = n;
  inputs.ids = ids.data();
  std::vector<float> all;
  const auto collect = [&](size_t, size_t rows, const float* out, size_t stride) {
    for (size_t i = 0; i < rows; ++i) {
      all.insert(all.end(), out + i * stride, out + i * stride + plan.output().width);
    }
  };
  const OutputSink sink(collect);
  CHECK(Execute(plan, inputs, n, ChooseKernels(), pool, cache, nullptr, sink) == Status::kOk);
  return all;
}

Node GraphNode(const char* op, std::vector<std::string> in, const char* out) {
  Node node;
  node.op = op;
  node.inputs = std::move(in);
  node.outputs = {out};
  if (node.op == "gelu") node.attributes["approximation"] = std::string("tanh");
  if (node.op == "add") node.attributes["alpha"] = 0.75;
  return node;
}

struct FusionCase {
  std::vector<Node> nodes;  // after an embedding "x"; "w" is a matrix
  const char* output;
  const char* labels;  // of the steps
};

std::vector<FusionCase> FusionCases() {
  const auto& node = GraphNode;
  return {
      {{node("linear", {"x", "w"}, "y"), node("gelu", {"y"}, "z")}, "z", "linear+gelu "},
      {{node("linear", {"x", "w"}, "y"), node("gelu", {"y"}, "z")}, "y", "linear gelu "},
      {{node("linear", {"x", "w"}, "y"), node("add", {"x", "y"}, "z")}, "z", "linear+add "},
      {{node("linear", {"x", "w"}, "y"), node("add", {"y", "x"}, "z")}, "z", "linear add "},
      {{node("linear", {"x", "w"}, "y"), node("add", {"y", "y"}, "z")}, "z", "linear add "},
      {{node("linear", {"x", "w"}, "y"), node("gelu", {"y"}, "g"), node("add", {"y", "g"}, "z")},
       "z", "linear gelu add "},
      {{node("linear", {"x", "w"}, "y"), node("gelu", {"y"}, "g"), node("gelu", {"g"}, "h"),
        node("add", {"h", "x"}, "z")}, "z", "linear+gelu gelu add "},
      {{node("linear", {"x", "w"}, "a"), node("linear", {"x", "w"}, "b"),
        node("add", {"a", "b"}, "z")}, "z", "linear linear+add "},
      {{node("linear", {"x", "w"}, "a"), node("linear", {"a", "w"}, "b"),
        node("add", {"a", "b"}, "z"), node("add", {"z", "a"}, "o")}, "o",
       "linear linear+add add "},
      {{node("linear", {"x", "w"}, "a"), node("linear", {"x", "w"}, "b"),
        node("add", {"b", "a"}, "z")}, "z", "linear linear add "},
  };
}

}  // namespace

TEST_CASE("fused steps give what the ops alone give, and only what nobody else reads is fused") {
  const AttentionModel model(2, {0});
  std::vector<Tensor> tensors = model.tensors;
  Tensor square = tensors[0];  // the first rows of the table
  square.name = "w";
  square.shape = {AttentionModel::kWidth, AttentionModel::kWidth};
  square.bytes /= 2;
  tensors.push_back(square);
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  };
  for (const FusionCase& c : FusionCases()) {
    Graph graph;
    graph.inputs = {"ids"};
    graph.nodes = {GraphNode("embedding", {"ids", "table"}, "x")};
    graph.nodes.insert(graph.nodes.end(), c.nodes.begin(), c.nodes.end());
    graph.outputs = {c.output};
    std::string labels;
    const std::vector<float> fused = RunGraph(graph, find, 21, 5, 21, &labels);
    CHECK(labels == std::string("embedding ") + c.labels);
    // One more reader of every linear: nothing is fused.
    Graph plain = graph;
    int extra = 0;
    for (const Node& n : c.nodes) {
      if (n.op != "linear") continue;
      const std::string name = "extra" + std::to_string(extra++);
      plain.nodes.push_back(GraphNode("gelu", {n.outputs[0]}, name.c_str()));
    }
    std::string plain_labels;
    const std::vector<float> want = RunGraph(plain, find, 21, 21, 3, &plain_labels);
    CHECK(plain_labels.find('+') == std::string::npos);
    CHECK(fused == want);
  }
}
