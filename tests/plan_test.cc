// Plans of small graphs: attention however it is cut, heads, and what is fused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "lib/builder.h"
#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/plan.h"
#include "lib/thread_pool.h"

using namespace glint;

namespace {

// A graph of one attention whose heads of q come from one projection, and whose keys and values
// from another with as many heads as `source` has. Numbers are waves, so that heads can be repeated.
struct AttentionModel {
  static constexpr size_t kVocab = 64, kWidth = 32, kHeadDim = 20;
  std::vector<Tensor> tensors;
  std::vector<std::vector<float>> data;
  Graph graph;

  // kv head h holds what `source[h]` says.
  AttentionModel(int64_t heads, const std::vector<size_t>& source, const char* mask = "prefix",
                 int64_t window = 0) {
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
    graph = g.Finish(g.Attention(split, 0, mask, {.window = window}), "out");
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

// Outputs of n tokens, of which the first `prefix` see each other, of a text from `first` on.
std::vector<float> Attend(const AttentionModel& model, const AttentionSplit& split, size_t n,
                          size_t prefix, size_t first = 0) {
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
  for (size_t i = 0; i < n; ++i) {
    ids[i] = static_cast<int32_t>((first + i) * (first + i) % AttentionModel::kVocab);
  }
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

TEST_CASE("attention: a causal mask knows no prefix, whatever the sequence has") {
  const size_t n = 300;
  const AttentionModel causal(6, {0, 1}, "causal"), prefix(6, {0, 1});
  for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
    const std::vector<float> want = Attend(prefix, {kv, 1, 512, n}, n, 0);
    CHECK(Attend(causal, {kv, 2, 512, n}, n, 0) == want);
    CHECK(Attend(causal, {kv, 3, 7, n}, n, 280) == want);
    CHECK(Attend(causal, {kv, 16, 512, 1}, n, 280) == want);
    CHECK(Attend(prefix, {kv, 3, 7, n}, n, 280) != want);
  }
}

TEST_CASE("attention: a token sees what is in its window, however the run is cut") {
  const size_t n = 900, width = 6 * AttentionModel::kHeadDim;
  const AttentionModel causal(6, {0, 1}, "causal");
  for (const size_t window : {7, 256, 300, 5000}) {
    CAPTURE(window);
    const AttentionModel model(6, {0, 1}, "causal", static_cast<int64_t>(window));
    const std::vector<float> want = Attend(model, {KvType::kF32, 1, 1024, n}, n, 0);
    if (window >= n) CHECK(want == Attend(causal, {KvType::kF32, 1, 1024, n}, n, 0));
    // Without positions, a token sees what it would if the text began where its window does.
    for (const size_t i : {size_t{0}, size_t{255}, size_t{256}, size_t{700}, n - 1}) {
      CAPTURE(i);
      const size_t begin = i + 1 - std::min(i + 1, window);
      const std::vector<float> alone =
          Attend(causal, {KvType::kF32, 1, 1024, n}, i + 1 - begin, 0, begin);
      for (size_t c = 0; c < width; ++c) {
        REQUIRE(want[i * width + c] == doctest::Approx(alone[(i - begin) * width + c]).epsilon(1e-4));
      }
    }
    for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
      const std::vector<float> all = Attend(model, {kv, 2, 512, n}, n, 0);
      if (kv == KvType::kF32) CHECK(all == want);
      CHECK(Attend(model, {kv, 3, 7, n}, n, 0) == all);
      CHECK(Attend(model, {kv, 16, 512, 1}, n, 0) == all);  // keys split, too
      CHECK(Attend(model, {kv, 2, 4, 4}, n, 0) == all);
      CHECK(Attend(model, {kv, 2, 64, 300}, n, 0) == all);
    }
  }
}

TEST_CASE("split_qkv gives the heads of q, then of k, then of v") {
  AttentionModel model(4, {0, 1});  // "q" has 4 * 3 heads
  Graph graph;
  graph.inputs = {"ids", "cache_index"};
  graph.outputs = {"out"};
  graph.nodes = {{"embedding", {"ids", "table"}, {"x"}, {}},
                 {"linear", {"x", "q"}, {"rows"}, {}},
                 {"split_qkv", {"rows"}, {"q_", "k_", "v_"},
                  {{"heads", int64_t{8}}, {"kv_heads", int64_t{2}}}},
                 {"attention", {"q_", "k_", "v_", "cache_index"}, {"out"},
                  {{"layer", int64_t{0}}, {"mask", std::string("causal")}}}};
  // The first token sees itself only, so its output is v of each head's kv head.
  const std::vector<float> rows = [&] {
    AttentionModel linear = model;
    linear.graph.inputs = {"ids"};
    linear.graph.outputs = {"rows"};
    linear.graph.nodes = {graph.nodes[0], graph.nodes[1]};
    return Attend(linear, {KvType::kF32, 1, 1, 1}, 1, 0);
  }();
  model.graph = graph;
  const std::vector<float> out = Attend(model, {KvType::kF32, 1, 1, 1}, 1, 0);
  constexpr size_t kDim = AttentionModel::kHeadDim;
  REQUIRE(rows.size() == 12 * kDim);
  REQUIRE(out.size() == 8 * kDim);
  for (size_t h = 0; h < 8; ++h) {
    for (size_t c = 0; c < kDim; ++c) {
      CHECK(out[h * kDim + c] == rows[(10 + h / 4) * kDim + c]);
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
  if (node.op == "scale") node.attributes["factor"] = 1.7;
  if (node.op == "softcap") node.attributes["cap"] = 0.6;
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
      {{node("linear", {"x", "w"}, "y"), node("silu", {"y"}, "z")}, "z", "linear+silu "},
      {{node("linear", {"x", "w"}, "y"), node("silu", {"y"}, "z")}, "y", "linear silu "},
      {{node("linear", {"x", "w"}, "y"), node("mul", {"x", "y"}, "z")}, "z", "linear+mul "},
      {{node("linear", {"x", "w"}, "y"), node("mul", {"y", "x"}, "z")}, "z", "linear+mul "},
      {{node("linear", {"x", "w"}, "y"), node("mul", {"y", "y"}, "z")}, "z", "linear mul "},
      {{node("linear", {"x", "w"}, "y"), node("mul", {"x", "y"}, "z")}, "y", "linear mul "},
      {{node("linear", {"x", "w"}, "y"), node("scale", {"y"}, "z")}, "z", "linear+scale "},
      {{node("linear", {"x", "w"}, "y"), node("softcap", {"y"}, "z")}, "z", "linear+softcap "},
      {{node("scale", {"x"}, "s"), node("linear", {"s", "w"}, "y"), node("scale", {"y"}, "c"),
        node("softcap", {"c"}, "z")}, "z", "scale linear+scale softcap "},
      {{node("linear", {"x", "w"}, "y"), node("softcap", {"y"}, "z")}, "y", "linear softcap "},
      // SwiGLU: the later linear is the one that multiplies.
      {{node("linear", {"x", "w"}, "a"), node("silu", {"a"}, "g"), node("linear", {"x", "w"}, "b"),
        node("mul", {"g", "b"}, "z")}, "z", "linear+silu linear+mul "},
      {{node("linear", {"x", "w"}, "a"), node("silu", {"a"}, "g"), node("linear", {"x", "w"}, "b"),
        node("mul", {"b", "g"}, "z")}, "z", "linear+silu linear+mul "},
      {{node("linear", {"x", "w"}, "b"), node("linear", {"x", "w"}, "a"), node("silu", {"a"}, "g"),
        node("mul", {"g", "b"}, "z")}, "z", "linear linear+silu mul "},
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
