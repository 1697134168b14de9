// The op `gather`: what it computes, what the builder makes of it, and what is refused.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>

#include "lib/builder.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/plan.h"
#include "lib/thread_pool.h"

using namespace glint;

namespace {

constexpr size_t kWidth = 48, kVocab = 16;

// An embedding table of numbers that tell where they stand, a square matrix, and orders of columns.
struct Tensors {
  alignas(64) float table[kVocab * kWidth];
  alignas(64) float weight[kWidth * kWidth] = {};
  alignas(64) int32_t order[kWidth], other[kWidth];
  std::vector<Tensor> list;

  Tensors() {
    for (size_t r = 0; r < kVocab; ++r) {
      for (size_t c = 0; c < kWidth; ++c) table[c * 16 + r] = static_cast<float>(100 * r + c);
    }
    for (size_t i = 0; i < kWidth; ++i) {
      order[i] = static_cast<int32_t>(i * 7 % kWidth);
      other[i] = static_cast<int32_t>(i * 5 % kWidth);
    }
    Add("table", DType::kF32, {kVocab, kWidth}, table);
    Add("a", DType::kF32, {kWidth, kWidth}, weight);
    Add("a.columns", DType::kI32, {kWidth}, order);
    Add("b", DType::kF32, {kWidth, kWidth}, weight);
    Add("b.columns", DType::kI32, {kWidth}, order);  // tied to a's
    Add("c", DType::kF32, {kWidth, kWidth}, weight);
    Add("c.columns", DType::kI32, {kWidth}, other);
  }
  void Add(const char* name, DType dtype, std::vector<uint64_t> shape, const void* data) {
    Tensor& tensor = list.emplace_back();
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.shape = std::move(shape);
    tensor.data = static_cast<const uint8_t*>(data);
    TensorBytes(dtype, BlockOffset::kNone, tensor.shape, &tensor.bytes);
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

// y = gather(embedding(ids), index)
Graph GatherGraph(const char* index) {
  Graph graph;
  graph.name = "main";
  graph.inputs = {"ids"};
  graph.outputs = {"y"};
  graph.nodes.push_back({"embedding", {"ids", "table"}, {"x"}, {}});
  graph.nodes.push_back({"gather", {"x", index}, {"y"}, {}});
  return graph;
}

std::string PlanError(const Tensors& tensors, const Graph& graph) {
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = options.context = 5;
  RopeTables tables;
  try {
    CheckGraph("test", graph, tensors.Find());
    const Plan plan(graph, tensors.Find(), options, &tables);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("gather takes columns in the order of its index, for every token") {
  const Tensors tensors;
  const Graph graph = GatherGraph("a.columns");
  PlanOptions options;
  options.max_rows = options.max_outputs = options.context = 5;
  options.chunk = 2;
  RopeTables tables;
  const Plan plan(graph, tensors.Find(), options, &tables);
  ThreadPool pool(2);
  const KvCache cache(1, 1, 1, 5, KvType::kF32);
  const int32_t ids[] = {3, 15, 0, 7, 3};
  RunInputs inputs;
  inputs.n = 5;
  inputs.ids = ids;
  size_t rows_seen = 0;
  const auto check = [&](size_t first, size_t n, const float* rows, size_t stride) {
    for (size_t t = 0; t < n; ++t, ++rows_seen) {
      for (size_t i = 0; i < kWidth; ++i) {
        CHECK(rows[t * stride + i] ==
              static_cast<float>(100 * ids[first + t] + static_cast<int>(i * 7 % kWidth)));
      }
    }
  };
  const OutputSink sink(check);
  REQUIRE(Execute(plan, inputs, 5, ChooseKernels(), pool, cache, nullptr, sink) == Status::kOk);
  CHECK(rows_seen == 5);
}

TEST_CASE("the builder gathers once for linears whose columns are the same") {
  Tensors tensors;
  const auto build = [&] {
    GraphBuilder g("main", {"ids"}, tensors.list, "test");
    const auto x = g.Embedding(g.Input("ids"), "table");
    const auto a = g.Linear(x, "a", "", "a_out");
    const auto b = g.Linear(x, "b", "", "b_out");
    const auto c = g.Linear(x, "c", "", "c_out");
    const auto sum = g.AddScaled(g.AddScaled(a, 1, b), 1, c);
    // The same order, but of another value.
    return g.Finish(g.Linear(sum, "a", "", "again"), "y");
  };
  const auto count = [](const Graph& graph) {
    size_t n = 0;
    for (const Node& node : graph.nodes) n += node.op == "gather";
    return n;
  };
  CHECK(count(build()) == 3);
  CHECK(PlanError(tensors, build()) == "");
  // Without data nothing is known to be the same.
  for (Tensor& tensor : tensors.list) tensor.data = nullptr;
  CHECK(count(build()) == 4);
  tensors.list.push_back(tensors.list[2]);
  tensors.list.back().name = "table.columns";
  CHECK_THROWS_WITH(build(), doctest::Contains("'table': an embedding's columns"));
}

TEST_CASE("an index that lies is refused by name") {
  Tensors tensors;
  CHECK(PlanError(tensors, GatherGraph("a.columns")) == "");
  for (const int32_t bad : {-1, static_cast<int32_t>(kWidth), INT32_MAX, INT32_MIN}) {
    tensors.order[47] = bad;
    const std::string message = PlanError(tensors, GatherGraph("a.columns"));
    CHECK(message.find("tensor 'a.columns': entry 47: expected 0 to 47, found " +
                       std::to_string(bad)) != std::string::npos);
  }
  tensors.Add("short", DType::kI32, {kWidth - 1}, tensors.other);
  tensors.Add("long", DType::kI32, {kWidth + 1}, tensors.other);
  tensors.Add("floats", DType::kF32, {kWidth}, tensors.other);
  for (const char* name : {"short", "long", "floats", "a", "x", "ids"}) {
    CAPTURE(std::string(name));
    const std::string message = PlanError(tensors, GatherGraph(name));
    CAPTURE(message);
    CHECK(message.find("expected tensor i32 (48)") != std::string::npos);
  }
  CHECK(PlanError(tensors, GatherGraph("nothing")).find("does not exist") != std::string::npos);
  Graph graph = GatherGraph("a.columns");
  graph.nodes[1].inputs[0] = "table";
  CHECK(PlanError(tensors, graph).find("expected an f32 activation") != std::string::npos);
  graph = GatherGraph("a.columns");
  graph.nodes[1].attributes["axis"] = int64_t{1};
  CHECK(PlanError(tensors, graph).find("unknown attribute 'axis'") != std::string::npos);
}
