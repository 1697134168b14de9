// LLaMA-type models against the published implementation (reference_dir/goldens/llama-tiny-*,
// trained/stories260K), and, with made-up weights, what must hold of any causal model.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/json.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/golden_cases.h"
#include "tests/llama_samples.h"
#include "tests/npy.h"

using namespace glint;
using namespace glint::test;

namespace {

std::vector<int32_t> SomeIds(const Model& model, size_t n) {
  std::vector<int32_t> ids = {model.prompt_ids().bos};
  while (ids.size() < n) {
    const size_t i = ids.size();
    ids.push_back(static_cast<int32_t>((i * i * 7 + i * 3) % model.vocab_size()));
  }
  return ids;
}

// What the graph's value `name` is for a prompt.
std::vector<float> ValueOf(const Model& model, const std::string& name,
                           const std::vector<int32_t>& ids) {
  Graph graph;
  graph.inputs = model.graph().inputs;
  graph.outputs = {name};
  for (const Node& node : model.graph().nodes) {
    graph.nodes.push_back(node);
    if (node.outputs[0] == name) break;
  }
  PlanOptions options;
  options.max_rows = options.chunk = options.max_outputs = options.context = ids.size();
  const FindTensor find = [&](const std::string& tensor) { return model.file().Find(tensor); };
  RopeTables tables;
  const Plan plan(graph, find, options, &tables);
  ThreadPool pool(1);
  const KvCache cache(std::max<size_t>(1, plan.n_layers()), std::max<size_t>(1, plan.kv_heads()),
                      std::max<size_t>(1, plan.head_dim()), ids.size(), KvType::kF32);
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

TEST_CASE("every golden case from each of the five checkpoint files") {
  if (SkipWithoutReference("llama-tiny goldens")) return;
  for (const char* name : {"llama-tiny-mha", "llama-tiny-gqa"}) {
    CheckGoldens(name, {"p1", "p12", "p33", "p150"}, [](const Model& model, const std::string& cases) {
      CheckPaddedBatch(model, cases + "batch2", "logits_where_mask1.npy");
    });
  }
}

TEST_CASE("the residual after each layer is the golden's") {
  if (SkipWithoutReference("llama-tiny goldens")) return;
  for (const char* name : {"llama-tiny-mha", "llama-tiny-gqa"}) {
    const std::string folder = ReferenceDir() + "/goldens/" + name + "/";
    const std::unique_ptr<Model> model = ConvertAndOpen(folder + "model.safetensors", DType::kF32);
    const std::string test = folder + "cases/p33/";
    const std::vector<int32_t> ids = Ids(ReadNpy(test + "input_ids.npy"));
    const char* const kValues[] = {"embedded", "layer.0.add2", "layer.1.add2", "norm"};
    for (size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      const NpyArray want = ReadNpy(test + "hidden/" + std::to_string(i) + ".npy");
      const std::vector<float> got = ValueOf(*model, kValues[i], ids);
      REQUIRE(got.size() == want.floats.size());
      CHECK(MaxDifference(got.data(), want.floats.data(), got.size()) <= 1e-4f);
    }
  }
}

TEST_CASE("the trained stories260K writes its story") {
  if (SkipWithoutReference("stories260K")) return;
  const std::string folder = ReferenceDir() + "/trained/stories260K/";
  CheckCase(*ConvertAndOpen(folder + "pytorch_model.bin", DType::kF32), folder + "cases/once");
  CheckCase(*ConvertAndOpen(folder + "model.safetensors", DType::kF32), folder + "cases/once");
  // Its perplexity: tests/instruments_test.cc.
}

TEST_CASE("logits do not depend on threads, chunks, rows together, or what follows") {
  const std::string folder = LlamaFolder({});
  for (const DType type : {DType::kF32, DType::kF16, DType::kInt8, DType::kInt4, DType::kInt4x}) {
    CAPTURE(std::string(Info(type).name));
    const std::unique_ptr<Model> model = ConvertAndOpen(folder, type, false);
    const std::vector<int32_t> ids = SomeIds(*model, 290);  // two blocks of keys
    const size_t vocab = model->n_outputs();
    for (size_t kv = 0; kv < kKvTypeCount; ++kv) {
      CAPTURE(kv);
      const auto options = [&](size_t threads, size_t chunk, size_t outputs) {
        SessionOptions o;
        o.kv = static_cast<KvType>(kv);
        o.threads = threads;
        o.chunk = chunk;
        o.max_outputs = outputs;
        o.max_batch = 7;
        return o;
      };
      Session whole(*model, options(1, 512, 512));
      const std::vector<float> want = AllLogits(whole, ids);
      CHECK(std::all_of(want.begin(), want.end(), [](float v) { return std::isfinite(v); }));
      Session split(*model, options(3, 7, 5));
      CHECK(AllLogits(split, ids) == want);
      // A token sees nothing of what follows: a shorter prompt, then batches, give the same rows.
      const size_t begin = 250;
      const std::vector<float> head = AllLogits(split, std::span(ids).first(begin));
      CHECK(std::memcmp(head.data(), want.data(), head.size() * sizeof(float)) == 0);
      for (size_t at = begin; at < ids.size(); at += 4) {
        REQUIRE(split.AppendBatch(std::span(ids).subspan(at, 4)) == Status::kOk);
        for (size_t i = 0; i < 4; ++i) {
          const float* row = want.data() + (at + i) * vocab;
          CHECK(std::memcmp(split.BatchLogits(i).data(), row, vocab * sizeof(float)) == 0);
        }
      }
      // Taken back, and appended again.
      split.Truncate(begin + 3);
      REQUIRE(split.Append(ids[begin + 3]) == Status::kOk);
      const float* row = want.data() + (begin + 3) * vocab;
      CHECK(std::memcmp(split.logits().data(), row, vocab * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("a model without tokenizer and chat format") {
  ConvertOptions options;
  LlamaShape shape;
  shape.tied = true;
  options.source = LlamaFolder(shape);
  options.write.output = TempDir() + "/model.glint";
  std::string warning;
  options.warn = [&](const std::string& text) { warning = text; };
  Convert(options);
  CHECK(warning.find("there is no tokenizer") != std::string::npos);
  const std::unique_ptr<Model> model = Model::Open(options.write.output);
  CHECK(model->tokenizer() == nullptr);
  CHECK(model->chat() == nullptr);
  CHECK(model->prompt_ids().bos == 1);
  CHECK(model->prompt_ids().stop == std::vector<int32_t>{2});
  CHECK(model->file().Find("lm_head")->data == model->file().Find("embedding")->data);
  SessionOptions session_options;
  session_options.context = 8;
  Session session(*model, session_options);
  CHECK_THROWS_WITH(Chat{session}, doctest::Contains("no tokenizer"));
  CHECK_THROWS_WITH(Generate(session, SomeIds(*model, 3), {}, {}),
                    doctest::Contains("no tokenizer"));
  CHECK_THROWS_WITH(session.Start({}), doctest::Contains("the prompt is empty"));
  CHECK_THROWS_AS(session.Append(1), Error);
  REQUIRE(session.Start(SomeIds(*model, 7)) == Status::kOk);
  REQUIRE(session.Append(3) == Status::kOk);
  CHECK(session.Append(3) == Status::kContextFull);
  CHECK(session.Start(SomeIds(*model, 9)) == Status::kContextFull);
}

TEST_CASE("a graph that asks for more positions than its scheme has is refused") {
  const std::string folder = TempDir();
  ConvertOptions options;
  options.source = SourceDir() + "/examples/tiny/model";
  options.write.output = folder + "/glm.glint";
  Convert(options);
  const std::unique_ptr<GlintFile> file = GlintFile::Open(options.write.output);
  ModelHeader header = file->header();
  (*header.prompt)["position_scheme"] = "sequential";
  std::vector<TensorPlan> plans;
  for (const Tensor& tensor : file->tensors()) {
    plans.push_back({tensor.name, tensor.dtype, tensor.offset, tensor.shape, ""});
  }
  GlintWriter writer(folder + "/bad.glint", header, plans, false);
  for (size_t i = 0; i < plans.size(); ++i) {
    writer.Write(i, 0, file->tensors()[i].data, file->tensors()[i].bytes);
  }
  writer.Finish();
  CHECK_THROWS_WITH(Model::Open(folder + "/bad.glint"),
                    doctest::Contains("'position.1': position scheme 'sequential' has only 1"));
}
