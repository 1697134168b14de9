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
#include "lib/fp_mode.h"
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

TEST_CASE("sequential positions") {
  const PositionScheme* scheme = FindPositionScheme("sequential");
  REQUIRE(scheme);
  CHECK(scheme->n_positions == 1);
  SequencePositions sequence;
  sequence.prefix_len = 7;
  std::string why;
  CHECK(scheme->check({}, &why));
  const std::vector<int32_t> prompt = {5, 100, 6};
  REQUIRE(scheme->start(prompt, {}, &sequence, &why));
  CHECK(sequence.prefix_len == 0);
  for (const int32_t i : {0, 1, 5000}) {
    int32_t at[2] = {-1, -1};
    scheme->at(sequence, static_cast<size_t>(i), at);
    CHECK(at[0] == i);
    CHECK(at[1] == -1);
  }
  CHECK_FALSE(scheme->start({}, {}, &sequence, &why));
  CHECK(why == "the prompt is empty");
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
        }).find("cannot be cut into 2 sections") != std::string::npos);
  CHECK(MessageOf([&] { g.Attention(heads, -1, "causal"); }).find("'layer'") != std::string::npos);
  const Graph graph = g.Finish(g.Attention(heads, 0, "causal"), "logits");
  CHECK(graph.outputs == std::vector<std::string>{"logits"});
  CHECK(graph.nodes.back().outputs == graph.outputs);
}

TEST_CASE("ops of LLaMA-type models refuse what does not fit, by name") {
  const std::vector<Tensor> tensors = SomeTensors();
  GraphBuilder g("main", {"ids", "position.0", "cache_index"}, tensors, "test");
  const auto x = g.Embedding(g.Input("ids"), "table");
  const auto y = g.Linear(x, "w", "b", "qkv");  // 48 columns
  const auto fails = [](const auto& fn, const char* word) {
    const std::string message = MessageOf(fn);
    CAPTURE(message);
    CHECK(message.find(word) != std::string::npos);
  };
  fails([&] { g.RmsNorm(x, "b", 1e-5); }, "expected tensor f32 (32)");
  fails([&] { g.RmsNorm(x, "table", 1e-5); }, "expected tensor f32 (32)");
  fails([&] { g.RmsNorm(x, "nothing", 1e-5); }, "'nothing' does not exist");
  fails([&] { g.RmsNorm(x, "norm", 1.5); }, "'eps'");
  fails([&] { g.RmsNorm(x, "norm", -1e-5); }, "'eps'");
  fails([&] { g.Mul(x, y); }, "inputs differ: (n_tokens, 32) and (n_tokens, 48)");
  fails([&] { g.Mul(x, {"norm"}); }, "expected an f32 activation");
  fails([&] { g.Silu({"ids"}); }, "expected an f32 activation");
  fails([&] { g.Silu({"norm"}); }, "expected an f32 activation");
  fails([&] { g.SplitQkv(y, 4, 3); }, "4 heads cannot share 3 kv heads evenly");
  fails([&] { g.SplitQkv(y, 2, 4); }, "2 heads cannot share 4 kv heads evenly");
  fails([&] { g.SplitQkv(y, 3, 1); }, "width 48 is not 5 heads * head_dim");
  fails([&] { g.SplitQkv(y, 48, 48); }, "width 48 is not 144 heads * head_dim");
  fails([&] { g.SplitQkv(y, 4, 0); }, "'kv_heads'");
  fails([&] { g.SplitQkv(y, int64_t{1} << 62, 1); }, "'heads'");
  fails([&] { g.SplitQkv({"table"}, 4, 2); }, "expected an f32 activation");
  GraphBuilder::Heads heads = g.SplitQkv(y, 4, 1);
  fails([&] { g.Silu(heads.q); }, "rank 2");
  fails([&] { g.Mul(heads.k, heads.k); }, "rank 2");
  fails([&] { g.RmsNorm(heads.q, "norm", 1e-5); }, "expected tensor f32 (8)");
  fails([&] { g.SplitQkv(heads.q, 4, 2); }, "rank 2");
  fails([&] { g.Rope(heads.q, "norm", {g.Input("position.0")}); }, "2 * 32 elements");
  fails([&] { g.Attention(heads, 0, "causal", {.window = -1}); }, "'window'");
  fails([&] { g.Attention(heads, 0, "causal", {.window = int64_t{1} << 40}); }, "'window'");
  const Graph graph = g.Finish(g.Attention(heads, 0, "causal"), "out");
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  };
  const auto values = CheckGraph("test", graph, find);
  CHECK(values.at("q").shape == Shape{kTokens, 4, 8});
  CHECK(values.at("v").shape == Shape{kTokens, 1, 8});
  CHECK(values.at("out").shape == Shape{kTokens, 32});
  Graph changed = graph;
  Node& split = changed.nodes[2];
  split.attributes.erase("kv_heads");
  fails([&] { CheckGraph("file", changed, find); }, "'kv_heads' is missing");
  split.attributes["kv_heads"] = 1.0;
  fails([&] { CheckGraph("file", changed, find); }, "expected an integer");
  split.attributes["kv_heads"] = int64_t{1};
  split.outputs.pop_back();
  fails([&] { CheckGraph("file", changed, find); }, "3 outputs");
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

TEST_CASE("a window goes with a causal mask; without the attribute there is none") {
  const std::vector<Tensor> tensors = SomeTensors();
  GraphBuilder g("main", {"ids", "cache_index", "prefix_len"}, tensors, "test");
  const auto x = g.Embedding(g.Input("ids"), "table");
  const GraphBuilder::Heads heads = g.SplitHeads(g.Linear(x, "w", "b", "qkv"), 2, "per_head");
  CHECK(MessageOf([&] { g.Attention(heads, 0, "prefix", {.window = 64}); }).find("'window'") !=
        std::string::npos);
  g.Attention(heads, 0, "prefix");
  g.Attention(heads, 1, "causal");
  const Graph graph = g.Finish(g.Attention(heads, 2, "causal", {.window = 64}), "out");
  const auto node = [&](size_t i) { return graph.nodes[graph.nodes.size() - 3 + i]; };
  CHECK(node(1).attributes.count("window") == 0);
  CHECK(IntOf(node(0), "window") == 0);
  CHECK(IntOf(node(1), "window") == 0);
  CHECK(IntOf(node(2), "window") == 64);
  Node real = node(2);
  real.attributes["window"] = 64.0;
  std::map<std::string, ValueInfo> values;
  CHECK(MessageOf([&] { CheckNode("test", real, [](auto&) { return nullptr; }, &values); })
            .find("attribute 'window': expected an integer") != std::string::npos);
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
