// Ops with attributes that a file may leave out: what they compute, what the builder writes, what is
// refused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "lib/builder.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/plan.h"
#include "lib/thread_pool.h"

using namespace glint;

namespace {

// Rows of an embedding are q, k and v of a token: 4 heads that share 2, of 24 elements each.
constexpr size_t kVocab = 16, kHeads = 4, kKvHeads = 2, kHeadDim = 24;
constexpr size_t kWidth = (kHeads + 2 * kKvHeads) * kHeadDim;

struct Tensors {
  std::vector<float> table = std::vector<float>(kVocab * kWidth + 16);
  float* first = table.data();  // on a 64-byte line
  std::vector<Tensor> list;
  std::vector<std::unique_ptr<std::vector<float>>> vectors;

  Tensors() {
    while (reinterpret_cast<uintptr_t>(first) % 64 != 0) ++first;
    for (size_t i = 0; i < kVocab * kWidth; ++i) {
      first[i] = std::sin(static_cast<float>(i * i % 1009));
    }
    list.push_back({"table", DType::kF32, BlockOffset::kNone, {kVocab, kWidth},
                    reinterpret_cast<const uint8_t*>(first), kVocab * kWidth * sizeof(float)});
  }
  void Add(const std::string& name, const std::vector<float>& values) {
    vectors.push_back(std::make_unique<std::vector<float>>(values));
    list.push_back({name, DType::kF32, BlockOffset::kNone, {values.size()},
                    reinterpret_cast<const uint8_t*>(vectors.back()->data()),
                    values.size() * sizeof(float)});
  }
  // Element `i` of head `head` of a token's row.
  double At(size_t id, size_t head, size_t i) const {
    return first[(head * kHeadDim + i) * 16 + id];
  }
  FindTensor Find() const {
    return [this](const std::string& name) -> const Tensor* {
      for (const Tensor& tensor : list) {
        if (tensor.name == name) return &tensor;
      }
      return nullptr;
    };
  }
};

struct Positions {
  int32_t first = 0, second = 0;  // of every token
};

std::vector<float> Run(const Tensors& tensors, const Graph& graph, std::vector<int32_t> ids,
                       const Positions& positions, size_t context, RopeTables* tables) {
  CheckGraph("test", graph, tensors.Find());
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = ids.size();
  options.context = context;
  options.n_threads = 2;
  const Plan plan(graph, tensors.Find(), options, tables);
  ThreadPool pool(2);
  const KvCache cache(1, plan.kv_heads(), plan.head_dim(), context, KvType::kF32);
  const std::vector<int32_t> first(ids.size(), positions.first);
  const std::vector<int32_t> second(ids.size(), positions.second);
  RunInputs inputs;
  inputs.n = ids.size();
  inputs.ids = ids.data();
  inputs.positions[0] = first.data();
  inputs.positions[1] = second.data();
  std::vector<float> all;
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) {
      all.insert(all.end(), rows + i * stride, rows + i * stride + plan.output().width);
    }
  };
  const OutputSink sink(collect);
  REQUIRE(Execute(plan, inputs, inputs.n, ChooseKernels(), pool, cache, nullptr, sink) ==
          Status::kOk);
  return all;
}

using Value = GraphBuilder::Value;
using HeadsOp = std::function<Value(GraphBuilder& g, Value heads)>;

GraphBuilder Builder(const Tensors& tensors) {
  return GraphBuilder("main", {"ids", "position.0", "position.1", "cache_index"}, tensors.list,
                      "test");
}

// A graph that shows what an op of heads makes of v: a token that sees itself alone returns its v.
Graph ShowHeads(const Tensors& tensors, const HeadsOp& op) {
  GraphBuilder g = Builder(tensors);
  GraphBuilder::Heads heads = g.SplitQkv(g.Embedding(g.Input("ids"), "table"), kHeads, kKvHeads);
  heads.v = op(g, heads.v);
  return g.Finish(g.Attention(heads, 0, "causal"), "out");
}

// Head h of the result of ShowHeads is v of head h / 2.
const float* HeadOf(const std::vector<float>& out, size_t kv_head) {
  REQUIRE(out.size() == kHeads * kHeadDim);
  return out.data() + 2 * kv_head * kHeadDim;
}

double V(const Tensors& tensors, size_t id, size_t kv_head, size_t i) {
  return tensors.At(id, kHeads + kKvHeads + kv_head, i);
}

std::vector<float> Frequencies(size_t n, double base = 100) {
  std::vector<float> list;
  for (size_t i = 0; i < n; ++i) {
    list.push_back(static_cast<float>(std::pow(base, -static_cast<double>(i) / n)));
  }
  return list;
}

struct RopeCase {
  size_t n_freq, sections;
  bool interleaved;
  double scale;
};

void CheckRope(const RopeCase& c) {
  Tensors tensors;
  tensors.Add("f", Frequencies(c.n_freq));
  RopeOptions options;
  options.style = c.interleaved ? "interleaved" : "neox";
  options.scale = c.scale;
  const Graph graph = ShowHeads(tensors, [&](GraphBuilder& g, Value v) {
    std::vector<Value> positions = {g.Input("position.0")};
    if (c.sections == 2) positions.push_back(g.Input("position.1"));
    return g.Rope(v, "f", positions, options);
  });
  RopeTables tables;
  const Positions at = {37, 5};
  const std::vector<float> out = Run(tensors, graph, {7}, at, 50, &tables);
  for (size_t h = 0; h < kKvHeads; ++h) {
    std::vector<double> want(kHeadDim);
    for (size_t i = 0; i < kHeadDim; ++i) want[i] = V(tensors, 7, h, i);
    for (size_t s = 0; s < c.sections; ++s) {
      for (size_t i = 0; i < c.n_freq; ++i) {
        const double angle = static_cast<double>(s == 0 ? at.first : at.second) *
                             double{(*tensors.vectors[0])[i]};
        const size_t begin = s * 2 * c.n_freq;
        double& a = want[begin + (c.interleaved ? 2 * i : i)];
        double& b = want[begin + (c.interleaved ? 2 * i + 1 : i + c.n_freq)];
        const double turned = c.scale * (a * std::cos(angle) - b * std::sin(angle));
        b = c.scale * (b * std::cos(angle) + a * std::sin(angle));
        a = turned;
      }
    }
    for (size_t i = 0; i < kHeadDim; ++i) {
      CAPTURE(i);
      CHECK(std::fabs(HeadOf(out, h)[i] - want[i]) < 1e-5);
    }
    for (size_t i = c.sections * 2 * c.n_freq; i < kHeadDim; ++i) {
      CHECK(HeadOf(out, h)[i] == V(tensors, 7, h, i));
    }
  }
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("rope of whole heads, parts of them and two sections, in both styles") {
  for (const bool interleaved : {false, true}) {
    for (const double scale : {1.0, 1.19}) {
      CheckRope({kHeadDim / 2, 1, interleaved, scale});
      CheckRope({kHeadDim / 4, 2, interleaved, scale});
      for (const size_t part : {1, 5, 8}) CheckRope({part, 1, interleaved, scale});
    }
  }
}

TEST_CASE("rope: frequencies by the session's context") {
  Tensors tensors;
  std::vector<float> lists = Frequencies(8), later = Frequencies(8, 5000);
  lists.insert(lists.end(), later.begin(), later.end());
  tensors.Add("one", Frequencies(8));
  tensors.Add("two", lists);
  const Tensor& one = *tensors.Find()("one");
  const Tensor& two = *tensors.Find()("two");
  RopeSpec spec{"two", 1, 64, 0, 64};
  CHECK(RopeFrequencies(spec, two) == Frequencies(8));
  spec.context = 65;
  CHECK(RopeFrequencies(spec, two) == later);

  spec = {"one", 1, 64, 2.5, 64};
  CHECK(RopeFrequencies(spec, one) == Frequencies(8));
  spec.context = 200;
  // As the published code has it: another base.
  const double base = 100 * std::pow(2.5 * 200 / 64 - 1.5, 16.0 / 14);
  const std::vector<float> dynamic = RopeFrequencies(spec, one);
  for (size_t i = 0; i < 8; ++i) {
    CHECK(dynamic[i] == doctest::Approx(std::pow(base, -static_cast<double>(i) / 8)).epsilon(1e-6));
  }

  // The op uses them, and tables are shared by what they depend on.
  RopeTables tables;
  const auto rotated = [&](const char* list, const RopeOptions& options, size_t context) {
    const Graph graph = ShowHeads(tensors, [&](GraphBuilder& g, Value v) {
      return g.Rope(v, list, {g.Input("position.0")}, options);
    });
    return Run(tensors, graph, {3}, {40, 0}, context, &tables);
  };
  RopeOptions longrope;
  longrope.original_context = 64;
  const std::vector<float> plain = rotated("one", {}, 64);
  CHECK(rotated("two", longrope, 64) == plain);
  CHECK(rotated("two", longrope, 80) != plain);
  CHECK(rotated("one", {}, 64) == plain);
  CHECK(tables.size() == 3);
  tensors.Add("far", later);
  CHECK(rotated("far", {}, 80) == rotated("two", longrope, 80));
  CHECK(tables.size() == 4);
}

TEST_CASE("rope: forms that do not fit are refused") {
  Tensors tensors;
  tensors.Add("f12", Frequencies(12));
  tensors.Add("f13", Frequencies(13));
  tensors.Add("f6", Frequencies(6));
  tensors.Add("f5", Frequencies(5));
  tensors.Add("f1", Frequencies(1));
  tensors.Add("high", {1.0f, 4.5f});
  tensors.Add("above", {1.01f, 0.5f});
  const auto error = [&](const char* list, size_t sections, const RopeOptions& options) {
    return ErrorOf([&] {
      const Graph graph = ShowHeads(tensors, [&](GraphBuilder& g, Value v) {
        std::vector<Value> positions = {g.Input("position.0")};
        if (sections == 2) positions.push_back(g.Input("position.1"));
        return g.Rope(v, list, positions, options);
      });
      RopeTables tables;
      Run(tensors, graph, {0}, {}, 8, &tables);
    });
  };
  CHECK(error("f12", 1, {}) == "");
  CHECK(error("above", 1, {}) == "");
  CHECK(error("f6", 2, {}) == "");
  CHECK(error("f13", 1, {}).find("cannot be cut into 1 section of 2 * 13") != std::string::npos);
  CHECK(error("f12", 2, {}).find("cannot be cut into 2 sections of 2 * 12") != std::string::npos);
  CHECK(error("f5", 2, {}).find("cannot be cut into 2 sections of 2 * 5") != std::string::npos);
  CHECK(error("table", 1, {}).find("expected tensor f32") != std::string::npos);
  CHECK(error("high", 1, {}).find("frequency 1: expected 0 to 4") != std::string::npos);
  CHECK(error("f5", 1, {"neox", 1, 64, 0}).find("expected two lists") != std::string::npos);
  CHECK(error("f12", 1, {"neox", 1, 64, 0}) == "");
  CHECK(error("f1", 1, {"neox", 1, 64, 2}).find("at least 2 frequencies") != std::string::npos);
  CHECK(error("f6", 1, {"neox", 1, 64, 0.5}).find("expected at least 1") != std::string::npos);
  CHECK(error("f6", 1, {"neox", 1, 0, 2}).find("goes with 'original_context'") !=
        std::string::npos);
  CHECK(error("f6", 1, {"spiral", 1, 0, 0}).find("known: neox, interleaved") != std::string::npos);
  CHECK(error("f6", 1, {"neox", 0, 0, 0}).find("'scale': expected 0.001") != std::string::npos);
  CHECK(error("f6", 1, {"neox", 1, -1, 0}).find("'original_context'") != std::string::npos);
}

TEST_CASE("rms_norm of heads norms each by itself") {
  Tensors tensors;
  std::vector<float> weight;
  for (size_t i = 0; i < kHeadDim; ++i) weight.push_back(0.5f + 0.1f * static_cast<float>(i));
  tensors.Add("w", weight);
  tensors.Add("long", std::vector<float>(kKvHeads * kHeadDim));
  const Graph graph = ShowHeads(
      tensors, [](GraphBuilder& g, Value v) { return g.RmsNorm(v, "w", 1e-5); });
  RopeTables tables;
  const std::vector<float> out = Run(tensors, graph, {9}, {}, 1, &tables);
  for (size_t h = 0; h < kKvHeads; ++h) {
    double squares = 0;
    for (size_t i = 0; i < kHeadDim; ++i) squares += V(tensors, 9, h, i) * V(tensors, 9, h, i);
    for (size_t i = 0; i < kHeadDim; ++i) {
      const double want =
          V(tensors, 9, h, i) / std::sqrt(squares / kHeadDim + 1e-5) * double{weight[i]};
      CHECK(std::fabs(HeadOf(out, h)[i] - want) < 1e-5);
    }
  }
  const auto refused = [&](const HeadsOp& op) { return ErrorOf([&] { ShowHeads(tensors, op); }); };
  CHECK(refused([](GraphBuilder& g, Value v) { return g.RmsNorm(v, "long", 1e-5); })
            .find("expected tensor f32 (24)") != std::string::npos);
  CHECK(refused([](GraphBuilder& g, Value v) { return g.LayerNorm(v, "w", "w", 1e-5); })
            .find("activation of rank 2") != std::string::npos);
  CHECK(refused([](GraphBuilder& g, Value v) { return g.Scale(v, 2); })
            .find("activation of rank 2") != std::string::npos);
}

TEST_CASE("attention: scale and softcap of the scores") {
  const Tensors tensors;
  const std::vector<int32_t> ids = {2, 11, 5};
  for (const double scale : {0.0, 0.35}) {
    for (const double softcap : {0.0, 1.5}) {
      GraphBuilder g = Builder(tensors);
      const GraphBuilder::Heads heads =
          g.SplitQkv(g.Embedding(g.Input("ids"), "table"), kHeads, kKvHeads);
      const Graph graph = g.Finish(g.Attention(heads, 0, "causal", {scale, softcap}), "out");
      RopeTables tables;
      const std::vector<float> out = Run(tensors, graph, ids, {}, 3, &tables);
      for (size_t t = 0; t < 3; ++t) {
        for (size_t h = 0; h < kHeads; ++h) {
          std::vector<double> want(kHeadDim);
          double total = 0;
          for (size_t j = 0; j <= t; ++j) {
            const auto id = static_cast<size_t>(ids[j]);
            double score = 0;
            for (size_t i = 0; i < kHeadDim; ++i) {
              score += tensors.At(static_cast<size_t>(ids[t]), h, i) *
                       tensors.At(id, kHeads + h / 2, i);
            }
            score *= scale == 0 ? 1 / std::sqrt(double{kHeadDim}) : scale;
            if (softcap != 0) score = softcap * std::tanh(score / softcap);
            total += std::exp(score);
            for (size_t i = 0; i < kHeadDim; ++i) {
              want[i] += std::exp(score) * V(tensors, id, h / 2, i);
            }
          }
          for (size_t i = 0; i < kHeadDim; ++i) {
            CHECK(std::fabs(out[(t * kHeads + h) * kHeadDim + i] - want[i] / total) < 1e-5);
          }
        }
      }
    }
  }
}

TEST_CASE("scale and softcap of rows") {
  const Tensors tensors;
  GraphBuilder g = Builder(tensors);
  const Value x = g.Scale(g.Embedding(g.Input("ids"), "table"), 59.5);
  const Graph graph = g.Finish(g.Softcap(x, 30), "out");
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = 1;
  RopeTables tables;
  const Plan plan(graph, tensors.Find(), options, &tables);
  ThreadPool pool(1);
  const KvCache cache(1, 1, 1, 1, KvType::kF32);
  const int32_t id = 4;
  RunInputs inputs;
  inputs.n = 1;
  inputs.ids = &id;
  const auto check = [&](size_t, size_t, const float* row, size_t) {
    for (size_t i = 0; i < kWidth; ++i) {
      const double want = 30 * std::tanh(tensors.At(4, 0, i) * 59.5 / 30);
      CHECK(std::fabs(row[i] - want) < 1e-5);
    }
  };
  const OutputSink sink(check);
  REQUIRE(Execute(plan, inputs, 1, ChooseKernels(), pool, cache, nullptr, sink) == Status::kOk);
}

TEST_CASE("an attribute with the value that its absence has is left out, and means the same") {
  Tensors tensors;
  tensors.Add("f", Frequencies(12));
  const auto rope = [](GraphBuilder& g, Value v) {
    return g.Rope(v, "f", {g.Input("position.0")});
  };
  Graph graph = ShowHeads(tensors, rope);
  Node& rotation = graph.nodes[2];
  Node& attention = graph.nodes[3];
  REQUIRE(rotation.op == "rope");
  CHECK(rotation.attributes == std::map<std::string, Attribute>{{"style", std::string("neox")}});
  CHECK(attention.attributes ==
        std::map<std::string, Attribute>{{"layer", int64_t{0}}, {"mask", std::string("causal")}});
  CHECK(RealOf(rotation, "scale") == 1.0);
  CHECK(IntOf(rotation, "original_context") == 0);
  RopeTables tables;
  const std::vector<float> want = Run(tensors, graph, {1}, {3, 0}, 4, &tables);
  rotation.attributes["scale"] = 1.0;
  rotation.attributes["original_context"] = int64_t{0};
  attention.attributes["softcap"] = 0.0;
  CHECK(Run(tensors, graph, {1}, {3, 0}, 4, &tables) == want);
  CHECK(tables.size() == 1);

  rotation.attributes["scale"] = int64_t{1};
  const auto error = [&] {
    return ErrorOf([&] { CheckGraph("test", graph, tensors.Find()); });
  };
  CHECK(error().find("'scale': expected a number") != std::string::npos);
  rotation.attributes["scale"] = 2.0;
  attention.attributes.erase("mask");
  CHECK(error().find("'mask' is missing") != std::string::npos);
}
