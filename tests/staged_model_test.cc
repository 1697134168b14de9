// Running a model a piece at a time, against the activations of the published implementation.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "formats/convert/calibration.h"
#include "formats/convert/staged_model.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "tests/llama_samples.h"
#include "tests/npy.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

constexpr float kTolerance = 2e-4f;

std::string Golden(const std::string& rest) {
  return ReferenceDir() + "/goldens/chatglm1-tiny/" + rest;
}

TokenWindows WindowsOf(const std::string& name, size_t copies) {
  const NpyArray ids = ReadNpy(Golden("cases/" + name + "/input_ids.npy"));
  TokenWindows windows{ids.Dim(1), {}};
  for (size_t i = 0; i < copies; ++i) {
    windows.ids.insert(windows.ids.end(), ids.integers.begin(), ids.integers.end());
  }
  return windows;
}

float Worst(const float* a, const float* b, size_t n) {
  float worst = 0;
  for (size_t i = 0; i < n; ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

// All stages one after another; what the head reads.
StagedModel::Rows RunAll(StagedModel& model, size_t n_windows) {
  StagedModel::Rows rows = model.Embed(n_windows);
  for (size_t stage = 0; stage < model.stages().size(); ++stage) {
    model.Load(stage);
    model.Run(&rows, true, {}, {});
  }
  return rows;
}

}  // namespace

TEST_CASE("stages give the published activations") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const SourceModel source = OpenSource(Golden("model.safetensors"));
  for (const char* name : {"gmask12", "gmask_long", "mask_mid"}) {
    CAPTURE(std::string(name));
    const TokenWindows windows = WindowsOf(name, 2);
    StagedModel model(source, windows, 2);
    REQUIRE(model.stages().size() == 7);  // attention and network of 3 layers, the final norm
    CHECK(model.embedding() == "embedding");

    const NpyArray ln1 = ReadNpy(Golden("cases/" + std::string(name) + "/act/l0.ln1.npy"));
    const NpyArray out = ReadNpy(Golden("cases/" + std::string(name) + "/act/final_ln.npy"));
    const size_t floats = windows.length * 64;
    StagedModel::Rows rows = model.Embed(windows.n());
    REQUIRE(rows.size() == 2 * floats);
    size_t observed = 0;
    model.Load(0);
    model.Run(&rows, false, {}, [&](size_t input, const float* x, size_t stride, size_t n) {
      CHECK(n == windows.length);
      if (model.stages()[0].inputs[input].weights[0] != "layer.0.qkv.weight") return;
      for (size_t i = 0; i < n; ++i) {
        CHECK(Worst(x + i * stride, ln1.floats.data() + i * 64, 64) <= kTolerance);
      }
      ++observed;
    });
    CHECK(observed == 2);
    CHECK(rows == model.Embed(windows.n()));  // not kept

    rows = RunAll(model, 2);
    CHECK(Worst(rows.data(), out.floats.data(), floats) <= kTolerance);
    CHECK(std::equal(rows.begin(), rows.begin() + static_cast<long>(floats),
                     rows.begin() + static_cast<long>(floats)));
    StagedModel other(source, windows, 1);
    CHECK(rows == RunAll(other, 2));
  }
}

TEST_CASE("which activations the linears of a stage read") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const SourceModel source = OpenSource(Golden("pytorch_model-f16.bin"));
  const TokenWindows windows = WindowsOf("gmask12", 1);
  StagedModel model(source, windows, 1);
  const std::vector<StagedModel::Input>& attention = model.stages()[2].inputs;
  REQUIRE(attention.size() == 2);
  CHECK(attention[0].weights == std::vector<std::string>{"layer.1.qkv.weight"});
  CHECK(attention[1].weights == std::vector<std::string>{"layer.1.attn_out.weight"});
  CHECK(attention[1].cols == 64);
  REQUIRE(model.stages()[3].inputs.size() == 2);
  CHECK(model.stages()[3].inputs[1].cols == 256);
  REQUIRE(model.stages()[6].inputs.size() == 1);
  CHECK(model.stages()[6].inputs[0].weights == std::vector<std::string>{"lm_head"});
}

TEST_CASE("a weight in another form takes the place of the source's") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const SourceModel source = OpenSource(Golden("model.safetensors"));
  const TokenWindows windows = WindowsOf("gmask12", 1);
  StagedModel model(source, windows, 2);
  const StagedModel::Rows in = model.Embed(1);
  model.Load(0);
  StagedModel::Rows plain = in, replaced = in, zeroed = in;
  model.Run(&plain, true, {}, {});
  for (const SourceWeight& weight : source.weights) {
    if (weight.name != "layer.0.qkv.weight") continue;
    OwnedTensor same = AllocateTensor(weight.name, DType::kInt8, BlockOffset::kNone, weight.shape);
    const FillTiles fill = FillFromRows(weight.read, {}, weight.place);
    const MatrixLayout layout = ViewOf(same.tensor).layout;
    fill(layout, 0, layout.rows, PlanesAt(layout, same.memory.get(), 0));
    const OwnedTensor zero =
        AllocateTensor(weight.name, DType::kInt8, BlockOffset::kNone, weight.shape);
    size_t seen = 0;
    model.Run(&replaced, true, {&same.tensor},
              [&](size_t input, const float*, size_t, size_t) { seen += input == 0 ? 100 : 1; });
    CHECK(seen == 1);  // bytes go into the replaced one, floats into the other
    model.Run(&zeroed, true, {&zero.tensor}, {});
  }
  const float difference = Worst(plain.data(), replaced.data(), plain.size());
  CHECK(difference > 0);
  CHECK(Worst(plain.data(), zeroed.data(), plain.size()) > 10 * difference);
}

TEST_CASE("windows that do not suit the model are refused") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const SourceModel source = OpenSource(Golden("model.safetensors"));
  const TokenWindows none;
  CHECK_THROWS_AS(StagedModel(source, none, 1), Error);
  const TokenWindows beyond{2, {501, 512}};
  CHECK_THROWS_WITH(StagedModel(source, beyond, 1),
                    "calibration: id 512 is outside the vocabulary of 512");
  const TokenWindows no_mask{3, {7, 8, 504}};
  StagedModel model(source, no_mask, 1);
  StagedModel::Rows rows = model.Embed(1);
  model.Load(0);
  CHECK_THROWS_AS(model.Run(&rows, true, {}, {}), Error);
}

namespace {

// The graph with what Gemma 2 and Qwen3 add: a scaled embedding, norms of the heads of q and k, scores
// and logits that are capped.
Graph WithMore(const Graph& from) {
  Graph graph = from;
  graph.nodes.clear();
  for (Node node : from.nodes) {
    if (node.op == "rope") {
      const std::string normed = node.outputs[0] + ".normed";
      graph.nodes.push_back({"rms_norm", {node.inputs[0], "head_norm"}, {normed}, {{"eps", 1e-5}}});
      node.inputs[0] = normed;
    }
    if (node.op == "attention") node.attributes["softcap"] = 1.5;
    const bool is_head = node.outputs == graph.outputs;
    const bool is_embedding = node.op == "embedding";
    const std::string output = node.outputs[0];
    if (is_head || is_embedding) node.outputs[0] += ".plain";
    const std::string plain = node.outputs[0];
    graph.nodes.push_back(std::move(node));
    if (is_embedding) graph.nodes.push_back({"scale", {plain}, {output}, {{"factor", 8.0}}});
    if (is_head) graph.nodes.push_back({"softcap", {plain}, {output}, {{"cap", 30.0}}});
  }
  return graph;
}

SourceModel LlamaWithMore() {
  const test::LlamaShape shape;
  SourceModel source = OpenSource(test::LlamaFolder(shape));
  SourceWeight norm{"head_norm", {shape.head_dim}};
  std::vector<float> values(shape.head_dim, 1.25f);
  norm.bytes.resize(shape.head_dim * sizeof(float));
  std::memcpy(norm.bytes.data(), values.data(), norm.bytes.size());
  source.weights.push_back(norm);
  source.build = [build = source.build](const std::vector<Tensor>& tensors) {
    std::vector<Graph> graphs = build(tensors);
    for (Graph& graph : graphs) graph = WithMore(graph);
    return graphs;
  };
  return source;
}

std::vector<Tensor> TensorsOf(const SourceModel& source) {
  std::vector<Tensor> tensors;
  for (const SourceWeight& weight : source.weights) {
    tensors.push_back({weight.name, weight.stored, BlockOffset::kNone, weight.shape});
  }
  return tensors;
}

// What the whole graph makes of `value`, in one piece.
std::vector<float> RunWhole(const SourceModel& source, const std::string& value,
                            const std::vector<int32_t>& ids) {
  std::vector<OwnedTensor> owned;
  std::vector<Tensor> tensors;
  for (const SourceWeight& weight : source.weights) {
    if (!weight.tied_to.empty()) continue;
    owned.push_back(AllocateTensor(weight.name, weight.read ? DType::kF32 : weight.stored,
                                   BlockOffset::kNone, weight.shape));
    uint8_t* memory = owned.back().memory.get();
    if (weight.read) {
      const MatrixLayout layout = ViewOf(owned.back().tensor).layout;
      FillFromRows(weight.read, {}, weight.place)(layout, 0, layout.rows,
                                                  PlanesAt(layout, memory, 0));
    } else {
      std::memcpy(memory, weight.bytes.data(), weight.bytes.size());
    }
    tensors.push_back(owned.back().tensor);
  }
  const FindTensor find = [&](const std::string& name) -> const Tensor* {
    for (const Tensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  };
  Graph graph = source.build(tensors)[0];
  graph.outputs = {value};
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = options.context = ids.size();
  RopeTables tables;
  const Plan plan(graph, find, options, &tables);
  ThreadPool pool(1);
  const KvCache cache(plan.n_layers(), plan.kv_heads(), plan.head_dim(), ids.size(), KvType::kF32);
  std::vector<int32_t> positions(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) positions[i] = static_cast<int32_t>(i);
  RunInputs inputs;
  inputs.n = ids.size();
  inputs.ids = ids.data();
  inputs.positions[0] = positions.data();
  std::vector<float> all;
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) {
      all.insert(all.end(), rows + i * stride, rows + i * stride + plan.output().width);
    }
  };
  const OutputSink sink(collect);
  REQUIRE(Execute(plan, inputs, ids.size(), ChooseKernels(), pool, cache, nullptr, sink) ==
          Status::kOk);
  return all;
}

}  // namespace

TEST_CASE("scaled embeddings, norms of heads and capped logits: stages give what the whole gives") {
  SourceModel source = LlamaWithMore();
  const TokenWindows windows{5, {1, 7, 3, 9, 2}};
  StagedModel model(source, windows, 2);
  const StagedModel::Stage& last = model.stages().back();
  REQUIRE(last.inputs.size() >= 1);
  CHECK(last.inputs.back().weights == std::vector<std::string>{"lm_head"});
  const std::string head_input = last.inputs.back().value;
  const std::vector<float> whole = RunWhole(source, head_input, windows.ids);
  CHECK(RunAll(model, 1) == whole);
  const Graph graph = source.build(TensorsOf(source))[0];
  CHECK(graph.nodes.at(FindHead(graph)).inputs[1] == "lm_head");

  const Moments moments = MeasureMoments(model, 1, {});
  for (const SourceWeight& weight : source.weights) {
    const bool is_linear = weight.shape.size() == 2 && weight.name != "embedding";
    CHECK((moments.count(weight.name) != 0) == is_linear);
  }
  // Norms of heads are no part of a group; the others change nothing in exact numbers.
  Moments scaled = moments;
  const auto type_of = [](const SourceWeight&) { return DType::kInt4; };
  CHECK(FoldScales(&source, type_of, &scaled, model.pool()) > 0);
  const std::vector<float> folded = RunWhole(source, head_input, windows.ids);
  CHECK(folded != whole);
  CHECK(Worst(folded.data(), whole.data(), whole.size()) < 1e-4f);
}

TEST_CASE("a head that something else follows cannot be calibrated") {
  SourceModel source = LlamaWithMore();
  source.build = [build = source.build](const std::vector<Tensor>& tensors) {
    std::vector<Graph> graphs = build(tensors);
    Graph& graph = graphs[0];
    const std::string logits = graph.outputs[0];
    graph.outputs = {"sum"};
    graph.nodes.push_back({"add", {logits, logits}, {"sum"}, {{"alpha", 1.0}}});
    return graphs;
  };
  const TokenWindows windows{2, {1, 7}};
  CHECK_THROWS_WITH_AS(StagedModel(source, windows, 1),
                       doctest::Contains("does not end with a linear"), Error);
}
