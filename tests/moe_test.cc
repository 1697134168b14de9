// The ops of mixtures of experts: route, routed_linear, combine, gate.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "formats/convert/staged_model.h"
#include "lib/builder.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/plan.h"
#include "lib/thread_pool.h"
#include "quant/encode.h"
#include "simd/scalar_math.h"
#include "tests/guarded_pages.h"

using namespace glint;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Numbers between -1 and 1 that look like chance.
float Wave(size_t r, size_t c, size_t seed) {
  return std::sin(static_cast<float>((r * 7919 + c * 104729 + seed * 15485863) % 65536));
}

// Tensors by name. Token id i's activations are row i of a table that an op `embedding` reads.
struct Tensors {
  std::vector<OwnedTensor> owned;
  std::vector<Tensor> list;

  // A matrix of numbers number(row, column), in any type.
  template <class Number>
  void Add(const std::string& name, uint64_t rows, uint64_t cols, const Number& number,
           DType dtype = DType::kF32) {
    OwnedTensor tensor = AllocateTensor(name, dtype, BlockOffset::kNone, {rows, cols});
    const MatrixView view = ViewOf(tensor.tensor);
    std::vector<float> values(rows * cols);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) values[r * cols + c] = number(r, c);
    }
    EncodeOptions options;
    options.table = DefaultTable(dtype);
    if (Info(dtype).has_table) WriteTable(options.table, tensor.memory.get());
    if (dtype == DType::kF32) {  // with nan and inf, which no encoder takes
      float* to = reinterpret_cast<float*>(tensor.memory.get());
      for (size_t i = 0; i < values.size(); ++i) {
        const size_t r = i / cols, c = i % cols;
        to[(r / 16 * cols + c) * 16 + r % 16] = values[i];
      }
    } else {
      EncodeTiles(view.layout, options, values.data(), rows,
                  PlanesAt(view.layout, tensor.memory.get(), 0));
    }
    list.push_back(tensor.tensor);
    owned.push_back(std::move(tensor));
  }
  Tensor& At(const std::string& name) {
    return *std::find_if(list.begin(), list.end(), [&](const Tensor& t) { return t.name == name; });
  }
  FindTensor Find() const {
    return [this](const std::string& name) -> const Tensor* {
      const auto found =
          std::find_if(list.begin(), list.end(), [&](const Tensor& t) { return t.name == name; });
      return found == list.end() ? nullptr : &*found;
    };
  }
  // The rows of a matrix, decoded.
  std::vector<float> Decoded(const std::string& name) const {
    const MatrixView view = ViewOf(*Find()(name));
    std::vector<float> values(view.layout.rows * view.layout.cols);
    for (size_t r = 0; r < view.layout.rows; ++r) DecodeRow(view, r, &values[r * view.layout.cols]);
    return values;
  }
};

struct Way {
  size_t chunk, threads;
};

// The graph's output for these ids, n rows.
std::vector<float> RunGraph(const Graph& graph, const Tensors& tensors,
                            const std::vector<int32_t>& ids, Way way,
                            std::string* labels = nullptr) {
  CheckGraph("test", graph, tensors.Find());
  PlanOptions options;
  options.max_rows = options.context = ids.size();
  options.chunk = options.max_outputs = std::min(way.chunk, ids.size());
  options.n_threads = way.threads;
  RopeTables tables;
  const Plan plan(graph, tensors.Find(), options, &tables);
  if (labels) {
    for (const Step& step : plan.steps()) *labels += step.label + " ";
  }
  ThreadPool pool(way.threads);
  const KvCache cache(1, 1, 1, ids.size(), KvType::kF32);
  RunInputs inputs;
  inputs.n = ids.size();
  inputs.ids = ids.data();
  std::vector<float> all;
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) {
      all.insert(all.end(), rows + i * stride, rows + i * stride + plan.output().width);
    }
  };
  const OutputSink sink(collect);
  CHECK(Execute(plan, inputs, inputs.n, ChooseKernels(), pool, cache, nullptr, sink) ==
        Status::kOk);
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<int32_t> Ids(size_t n, size_t vocabulary) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>(i * 13 % vocabulary);
  return ids;
}

// route(row of `logits`), as one token.
std::vector<float> Route(const std::vector<float>& logits, int64_t top_k, bool normalize) {
  Tensors tensors;
  tensors.Add("logits", 1, logits.size(), [&](size_t, size_t c) { return logits[c]; });
  GraphBuilder g("main", {"ids"}, tensors.list, "test");
  const auto routing = g.Route(g.Embedding(g.Input("ids"), "logits"), top_k, normalize);
  return RunGraph(g.Finish(routing, "out"), tensors, {0}, {1, 1});
}

// A vocabulary of 64 tokens, a table of the activations of each, a router's logits, and experts.
struct Experts {
  static constexpr size_t kVocab = 64;
  size_t n_experts, top_k, n, k;
  Tensors tensors;

  Experts(size_t n_experts_, size_t top_k_, size_t n_, size_t k_,
          const std::vector<DType>& types = {DType::kF32})
      : n_experts(n_experts_), top_k(top_k_), n(n_), k(k_) {
    tensors.Add("x", kVocab, k, [](size_t r, size_t c) { return Wave(r, c, 1); });
    tensors.Add("parts", kVocab, top_k * k, [](size_t r, size_t c) { return Wave(r, c, 2); });
    // Expert 1 has no token, and the experts are unevenly popular.
    tensors.Add("logits", kVocab, n_experts, [](size_t r, size_t c) {
      return c == 1 ? -50.0f : Wave(r, c, 3) - 0.1f * static_cast<float>(c);
    });
    for (size_t e = 0; e < n_experts; ++e) {
      tensors.Add(
          Name(e), n, k, [&](size_t r, size_t c) { return Wave(r, c, 4 + e); },
          types[e % types.size()]);
    }
  }
  static std::string Name(size_t e) { return "expert." + std::to_string(e); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (size_t e = 0; e < n_experts; ++e) names.push_back(Name(e));
    return names;
  }
  // `x`: "x" or "parts".
  Graph RoutedLinear(const char* x) const {
    GraphBuilder g("main", {"ids"}, tensors.list, "test");
    const auto ids = g.Input("ids");
    const auto routing = g.Route(g.Embedding(ids, "logits"), static_cast<int64_t>(top_k), true);
    return g.Finish(g.RoutedLinear(g.Embedding(ids, x), routing, Names(), "y"), "out");
  }
  Graph RoutingOnly() const {
    GraphBuilder g("main", {"ids"}, tensors.list, "test");
    return g.Finish(
        g.Route(g.Embedding(g.Input("ids"), "logits"), static_cast<int64_t>(top_k), true), "out");
  }
};

}  // namespace

TEST_CASE("route: the largest logits first, ties to the lower expert, weights as defined") {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 2.0f, 0.5f, 3.0f};
  const std::vector<float> got = Route(logits, 4, true);
  REQUIRE(got.size() == 8);
  CHECK(std::vector<float>(got.begin() + 4, got.end()) == std::vector<float>{5, 1, 3, 0});
  float sum = 0, all = 0;
  for (const size_t e : {5, 1, 3, 0}) sum += Exp(logits[e] - 3.0f);
  for (const float logit : logits) all += Exp(logit - 3.0f);
  const std::vector<float> plain = Route(logits, 4, false);
  size_t s = 0;
  for (const size_t e : {5, 1, 3, 0}) {
    CHECK(got[s] == Exp(logits[e] - 3.0f) / sum);
    CHECK(plain[s++] == Exp(logits[e] - 3.0f) / all);
  }
  double exact = 0;
  for (const float logit : logits) exact += std::exp(double(logit));
  CHECK(plain[0] == doctest::Approx(std::exp(3.0) / exact).epsilon(1e-6));
  // All equal; one of one; weights that vanish.
  CHECK(Route({1, 1, 1, 1}, 2, true) == std::vector<float>{0.5f, 0.5f, 0, 1});
  CHECK(Route({1, 1, 1, 1}, 4, false) ==
        std::vector<float>{0.25f, 0.25f, 0.25f, 0.25f, 0, 1, 2, 3});
  CHECK(Route({-3}, 1, true) == std::vector<float>{1, 0});
  CHECK(Route({-kInf, 0, -1000, -1000}, 3, true) == std::vector<float>{1, 0, 0, 1, 2, 3});
}

TEST_CASE("route: logits that are not finite make weights nan, and experts that exist") {
  for (const auto& logits :
       {std::vector<float>{0, kNan, 1, 2}, std::vector<float>{kNan, kNan, kNan, kNan},
        std::vector<float>{0, 1, 2, kInf}, std::vector<float>{kInf, kInf, 0, kNan},
        std::vector<float>{-kInf, -kInf, -kInf, -kInf}}) {
    for (const bool normalize : {false, true}) {
      const std::vector<float> got = Route(logits, 2, normalize);
      REQUIRE(got.size() == 4);
      CHECK(got[0] != got[0]);
      CHECK(got[1] != got[1]);
      CHECK(got[2] == 0);
      CHECK(got[3] == 1);
    }
  }
}

TEST_CASE("routed_linear in f32 is what plain loops give") {
  for (const char* x : {"x", "parts"}) {
    CAPTURE(std::string(x));
    const Experts experts(7, 3, 37, 29);
    const std::vector<int32_t> ids = Ids(90, Experts::kVocab);
    const std::vector<float> got = RunGraph(experts.RoutedLinear(x), experts.tensors, ids, {90, 2});
    const std::vector<float> routing =
        RunGraph(experts.RoutingOnly(), experts.tensors, ids, {90, 1});
    const std::vector<float> rows = experts.tensors.Decoded(x);
    const size_t width = rows.size() / Experts::kVocab;
    std::vector<float> want;
    for (size_t t = 0; t < ids.size(); ++t) {
      for (size_t s = 0; s < 3; ++s) {
        const auto e = static_cast<size_t>(routing[t * 6 + 3 + s]);
        CHECK(e != 1);
        const std::vector<float> w = experts.tensors.Decoded(Experts::Name(e));
        const float* row = &rows[static_cast<size_t>(ids[t]) * width + (width == 29 ? 0 : s * 29)];
        for (size_t r = 0; r < 37; ++r) {
          float sum = 0;
          for (size_t c = 0; c < 29; ++c) sum = std::fma(w[r * 29 + c], row[c], sum);
          want.push_back(sum + 0.0f);
        }
      }
    }
    CHECK(SameBits(got, want));
  }
}

TEST_CASE("routed_linear of every type is what op linear gives, however it is cut") {
  const std::vector<std::vector<DType>> cases = {
      {DType::kF32},   {DType::kF16},
      {DType::kBF16},  {DType::kInt8},
      {DType::kInt4},  {DType::kInt4x},
      {DType::kInt4a}, {DType::kInt3},
      {DType::kInt6},  {DType::kInt4, DType::kF32, DType::kInt8}};
  const std::vector<int32_t> ids = Ids(700, Experts::kVocab);
  for (const std::vector<DType>& types : cases) {
    CAPTURE(std::string(Info(types[0]).name));
    const Experts experts(5, 2, 83, 150, types);
    const std::vector<float> routing =
        RunGraph(experts.RoutingOnly(), experts.tensors, ids, {700, 1});
    std::vector<std::vector<float>> all;  // of every expert, for every row of "x"
    for (size_t e = 0; e < 5; ++e) {
      GraphBuilder g("main", {"ids"}, experts.tensors.list, "test");
      const auto row = g.Embedding(g.Input("ids"), "x");
      all.push_back(RunGraph(g.Finish(g.Linear(row, Experts::Name(e), "", "y"), "out"),
                             experts.tensors, ids, {64, 2}));
    }
    std::vector<float> want;
    for (size_t t = 0; t < ids.size(); ++t) {
      for (size_t s = 0; s < 2; ++s) {
        const auto e = static_cast<size_t>(routing[t * 4 + 2 + s]);
        want.insert(want.end(), &all[e][t * 83], &all[e][t * 83] + 83);
      }
    }
    const Graph graph = experts.RoutedLinear("x");
    for (const Way way :
         {Way{700, 2}, Way{700, 1}, Way{512, 3}, Way{64, 2}, Way{7, 2}, Way{1, 2}}) {
      CAPTURE(way.chunk);
      CHECK(SameBits(RunGraph(graph, experts.tensors, ids, way), want));
    }
    // A part of x for each slot; nothing but the ways to compare with.
    const Graph parts = experts.RoutedLinear("parts");
    const std::vector<float> one = RunGraph(parts, experts.tensors, ids, {1, 1});
    for (const Way way : {Way{700, 2}, Way{64, 3}, Way{5, 2}}) {
      CAPTURE(way.chunk);
      CHECK(SameBits(RunGraph(parts, experts.tensors, ids, way), one));
    }
  }
}

TEST_CASE("an expert without tokens is not read") {
  Experts experts(5, 2, 48, 32);
  char* const nothing = MapGuarded(0);
  REQUIRE(nothing);
  experts.tensors.At("expert.1").data = reinterpret_cast<const uint8_t*>(nothing);
  const std::vector<int32_t> ids = Ids(100, Experts::kVocab);
  const Graph graph = experts.RoutedLinear("x");
  CHECK(SameBits(RunGraph(graph, experts.tensors, ids, {100, 2}),
                 RunGraph(graph, experts.tensors, ids, {1, 1})));
  UnmapGuarded(nothing, 0);
}

TEST_CASE("experts that all tokens choose, and a matrix of more tokens than go through at once") {
  Experts experts(2, 2, 200, 64, {DType::kInt4, DType::kInt8});
  const Graph graph = experts.RoutedLinear("x");
  for (const size_t n : {1, 2, 8, 9, 239, 240, 248, 249, 257, 480, 489, 520}) {
    CAPTURE(n);
    const std::vector<int32_t> ids = Ids(n, Experts::kVocab);
    CHECK(SameBits(RunGraph(graph, experts.tensors, ids, {n, 2}),
                   RunGraph(graph, experts.tensors, ids, {4, 2})));
  }
}

TEST_CASE("combine and gate do what they say") {
  const Experts experts(6, 3, 40, 32);
  const std::vector<int32_t> ids = Ids(50, Experts::kVocab);
  GraphBuilder g("main", {"ids"}, experts.tensors.list, "test");
  const auto routing = g.Route(g.Embedding(g.Input("ids"), "logits"), 3, false);
  const auto parts = g.Embedding(g.Input("ids"), "parts");
  const Graph graph = g.Finish(g.Combine(parts, routing), "out");
  const std::vector<float> got = RunGraph(graph, experts.tensors, ids, {50, 2});
  CHECK(SameBits(got, RunGraph(graph, experts.tensors, ids, {3, 1})));
  const std::vector<float> y = experts.tensors.Decoded("parts");
  const std::vector<float> logits = experts.tensors.Decoded("logits");
  for (size_t t = 0; t < ids.size(); ++t) {
    const auto id = static_cast<size_t>(ids[t]);
    const std::vector<float> weights = Route({&logits[id * 6], &logits[id * 6] + 6}, 3, false);
    for (size_t i = 0; i < 32; ++i) {
      float want = weights[0] * y[id * 96 + i];
      for (size_t s = 1; s < 3; ++s) want = std::fma(weights[s], y[id * 96 + s * 32 + i], want);
      CHECK(got[t * 32 + i] == want);
    }
  }

  Tensors tensors;
  tensors.Add("x", 5, 70, [](size_t r, size_t c) { return c == 3 ? -0.0f : Wave(r, c, 1); });
  const float logit[] = {0, 100, -100, -1.5f, kNan};
  tensors.Add("logit", 5, 1, [&](size_t r, size_t) { return logit[r]; });
  GraphBuilder gate("main", {"ids"}, tensors.list, "test");
  const auto x = gate.Embedding(gate.Input("ids"), "x");
  const auto at = gate.Embedding(gate.Input("ids"), "logit");
  const std::vector<float> gated =
      RunGraph(gate.Finish(gate.Gate(x, at), "out"), tensors, {0, 1, 2, 3, 4}, {5, 2});
  for (size_t r = 0; r < 4; ++r) {
    const float want = 1.0f / (1.0f + Exp(-logit[r]));
    CHECK(want == doctest::Approx(1 / (1 + std::exp(-double(logit[r])))).epsilon(1e-6));
    CHECK(gated[r * 70 + 1] == Wave(r, 1, 1) * want);
    CHECK(std::signbit(gated[r * 70 + 3]));
  }
  CHECK(gated[4 * 70] != gated[4 * 70]);
}

TEST_CASE("a token whose logits are nan comes out nan, and the others as ever") {
  Experts experts(5, 2, 20, 16);
  experts.tensors.Add("bad", Experts::kVocab, 5,
                      [](size_t r, size_t c) { return r == 13 ? kNan : Wave(r, c, 3); });
  GraphBuilder g("main", {"ids"}, experts.tensors.list, "test");
  const auto routing = g.Route(g.Embedding(g.Input("ids"), "bad"), 2, true);
  const auto x = g.Embedding(g.Input("ids"), "x");
  const auto y = g.RoutedLinear(x, routing, experts.Names(), "y");
  const Graph graph = g.Finish(g.Combine(y, routing), "out");
  const std::vector<float> got =
      RunGraph(graph, experts.tensors, Ids(30, Experts::kVocab), {30, 2});
  for (size_t t = 0; t < 30; ++t) CHECK(std::isnan(got[t * 20]) == (t == 1));
}

TEST_CASE("activations and products are done along with the experts' tiles, bit for bit") {
  for (const DType type : {DType::kF32, DType::kInt4}) {
    Experts experts(5, 2, 83, 64, {type});
    const auto build = [&](bool fuse) {
      GraphBuilder g("main", {"ids"}, experts.tensors.list, "test");
      const auto x = g.Embedding(g.Input("ids"), "x");
      const auto routing = g.Route(g.Embedding(g.Input("ids"), "logits"), 2, true);
      const auto gate = g.RoutedLinear(x, routing, experts.Names(), "gate");
      if (!fuse) g.Silu(gate);  // one more reader
      const auto silu = g.Silu(gate);
      const auto up = g.RoutedLinear(x, routing, experts.Names(), "up");
      if (!fuse) g.Silu(up);
      return g.Finish(g.Mul(silu, up), "out");
    };
    std::string labels;
    const std::vector<int32_t> ids = Ids(300, Experts::kVocab);
    const std::vector<float> fused = RunGraph(build(true), experts.tensors, ids, {300, 2}, &labels);
    CHECK(labels == "embedding embedding route routed_linear+silu routed_linear+mul ");
    for (const Way way : {Way{300, 2}, Way{1, 2}}) {
      CHECK(SameBits(fused, RunGraph(build(false), experts.tensors, ids, way)));
      CHECK(SameBits(fused, RunGraph(build(true), experts.tensors, ids, way)));
    }
  }
}

namespace {

std::string GraphError(const Graph& graph, const Tensors& tensors) {
  try {
    CheckGraph("test", graph, tensors.Find());
    PlanOptions options;
    options.max_rows = options.chunk = options.max_outputs = options.context = 5;
    RopeTables tables;
    const Plan plan(graph, tensors.Find(), options, &tables);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("graphs that lie are refused by name") {
  Experts experts(4, 2, 48, 32);
  Tensors& tensors = experts.tensors;
  tensors.Add("other", 48, 31, [](size_t, size_t) { return 0.0f; });
  tensors.Add("wide", Experts::kVocab, 5000, [](size_t, size_t) { return 0.0f; });
  OwnedTensor vector = AllocateTensor("vector", DType::kF32, BlockOffset::kNone, {48 * 32});
  tensors.list.push_back(vector.tensor);
  const Graph good = experts.RoutedLinear("x");  // embedding, route, embedding, routed_linear
  REQUIRE(good.nodes.size() == 4);
  REQUIRE(GraphError(good, tensors) == "");
  const auto with = [&](size_t input, const std::string& name) {
    Graph graph = good;
    graph.nodes[3].inputs[input] = name;
    return GraphError(graph, tensors);
  };
  const auto contains = [](const std::string& text, const char* part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  const std::string& routing = good.nodes[1].outputs[0];
  const std::string& logits = good.nodes[0].outputs[0];
  contains(with(0, "expert.0"), "expected an f32 activation");
  contains(with(0, logits),
           "weights of 32 columns: expected as many inputs, or 2 times as many, found 4");
  contains(with(1, logits), "expected the output of an op 'route', found f32 (n_tokens, 4)");
  contains(with(1, "expert.0"), "expected the output of an op 'route'");
  contains(with(2, "vector"), "weight 0: expected a matrix, found tensor (1536)");
  contains(with(3, "vector"),
           "weight 1: expected a matrix (48, 32) as weight 0, found tensor (1536)");
  contains(with(3, "other"),
           "weight 1: expected a matrix (48, 32) as weight 0, found tensor (48, 31)");
  contains(with(4, logits),
           "weight 2: expected a matrix (48, 32) as weight 0, found (n_tokens, 4)");
  contains(with(4, "nothing"), "'nothing' does not exist");
  Graph graph = good;
  graph.nodes[3].inputs.pop_back();
  contains(GraphError(graph, tensors), "3 weights, but a routing among 4 experts");
  graph = good;
  graph.nodes[3].inputs.push_back("expert.0");
  contains(GraphError(graph, tensors), "5 weights, but a routing among 4 experts");
  graph.nodes[3].inputs.resize(2);
  contains(GraphError(graph, tensors), "expected 3 to 4096 inputs");
  for (const auto& [top_k, what] :
       {std::pair<int64_t, const char*>{5, "cannot choose 5 of 4 experts"},
        {0, "attribute 'top_k': expected 1"},
        {65, "attribute 'top_k': expected 1"}}) {
    graph = good;
    graph.nodes[1].attributes["top_k"] = top_k;
    contains(GraphError(graph, tensors), what);
  }
  graph = good;
  graph.nodes[1].attributes["normalize"] = int64_t{2};
  contains(GraphError(graph, tensors), "attribute 'normalize': expected 0");
  graph = good;
  graph.nodes[0].inputs[1] = "wide";
  contains(GraphError(graph, tensors), "5000 experts; the limit is 4094");

  const auto appended = [&](const char* op, std::vector<std::string> inputs) {
    Graph more = good;
    Node node;
    node.op = op;
    node.inputs = std::move(inputs);
    node.outputs = {"end"};
    more.nodes.push_back(node);
    more.outputs = {"end"};
    return GraphError(more, tensors);
  };
  CHECK(appended("combine", {"out", routing}) == "");
  // A routing that went through another op is none.
  contains(appended("combine", {"out", "out"}), "expected the output of an op 'route'");
  contains(appended("combine", {"expert.0", routing}), "expected an f32 activation");
  graph = good;
  graph.nodes[1].attributes["top_k"] = int64_t{3};
  graph.nodes[3] = {"combine", {good.nodes[2].outputs[0], routing}, {"out"}, {}};
  contains(GraphError(graph, tensors), "width 32 is not 3 experts * n");
  contains(appended("gate", {"out", "out"}), "logit: expected (n_tokens, 1), found (n_tokens, 96)");

  tensors.list.push_back(vector.tensor);
  tensors.list.back().name = "expert.2.columns";
  CHECK_THROWS_WITH(experts.RoutedLinear("x"),
                    doctest::Contains("'expert.2': an expert's columns"));
}
