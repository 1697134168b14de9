// Hidden states and embeddings: what the head would read, the same bits however they are computed.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>

#include "lib/embedding.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/memory_estimate.h"
#include "lib/ops/ops.h"
#include "quant/layout.h"
#include "tests/window_model.h"

using namespace glint;
using namespace glint::test;

namespace {

std::vector<int32_t> SomeIds(const Model& model, size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(3 + (i * i * 7 + i * 3) % 90));
  if (model.causal()) return ids;
  ids.push_back(model.prompt_ids().gmask);
  ids.push_back(model.prompt_ids().sop);
  return ids;
}

std::vector<std::unique_ptr<Model>> Models(DType type) {
  std::vector<std::unique_ptr<Model>> models;
  models.push_back(ConvertAndOpen(SourceDir() + "/examples/tiny/model", type, false));
  models.push_back(ConvertAndOpen(LlamaFolder({}), type, false));
  return models;
}

SessionOptions Options(SessionOutput output, size_t threads = 2, size_t chunk = 32,
                       size_t outputs = 1) {
  SessionOptions options;
  options.output = output;
  options.threads = threads;
  options.chunk = chunk;
  options.max_outputs = outputs;
  options.context = 128;
  options.kv = KvType::kF32;
  return options;
}

// The outputs of every token of a prompt.
std::vector<std::vector<float>> Rows(Session& session, const std::vector<int32_t>& ids) {
  std::vector<std::vector<float>> rows;
  const size_t width = session.model().OutputSize(session.output());
  const auto take = [&](size_t, size_t n, const float* from, size_t stride) {
    for (size_t i = 0; i < n; ++i) rows.emplace_back(from + i * stride, from + i * stride + width);
  };
  const OutputSink sink(take);
  REQUIRE(session.Start(ids, &sink) == Status::kOk);
  return rows;
}

}  // namespace

TEST_CASE("a hidden state is what the head reads") {
  for (const std::unique_ptr<Model>& model : Models(DType::kF32)) {
    CAPTURE(model->file().path());
    const std::vector<int32_t> ids = SomeIds(*model, 50);
    Session logits(*model, Options(SessionOutput::kLogits));
    Session hidden(*model, Options(SessionOutput::kHidden));
    CHECK(hidden.output() == SessionOutput::kHidden);
    const auto want = Rows(logits, ids), states = Rows(hidden, ids);
    REQUIRE(states.size() == ids.size());
    const Graph& graph = model->graph();
    const MatrixView head = ViewOf(*model->file().Find(graph.nodes[FindHead(graph)].inputs[1]));
    const size_t width = model->hidden_size();
    REQUIRE(width == head.layout.cols);
    std::vector<float> row(width);
    double worst = 0;
    for (size_t i = 0; i < model->n_outputs(); i += 7) {
      DecodeRow(head, i, row.data());
      for (size_t t = 0; t < ids.size(); t += 9) {
        double sum = 0;
        for (size_t k = 0; k < width; ++k) sum += double{row[k]} * double{states[t][k]};
        worst = std::max(worst, std::abs(sum - double{want[t][i]}));
      }
    }
    CHECK(worst < 1e-4);
    // One by one, as with logits.
    REQUIRE(hidden.Append(5) == Status::kOk);
    std::vector<int32_t> longer = ids;
    longer.push_back(5);
    const std::vector<float> last(hidden.logits().begin(), hidden.logits().end());
    CHECK(Rows(hidden, longer).back() == last);
  }
}

TEST_CASE("an embedding has the same bits with any threads, chunks and rows together") {
  for (const std::unique_ptr<Model>& model : Models(DType::kInt4)) {
    CAPTURE(model->file().path());
    const std::vector<int32_t> ids = SomeIds(*model, 70);
    for (const Pooling pooling : {Pooling::kLast, Pooling::kMean}) {
      for (const bool normalize : {false, true}) {
        const EmbeddingOptions options{pooling, normalize};
        Session session(*model, Options(SessionOutput::kHidden));
        std::vector<float> want;
        REQUIRE(Embed(session, ids, options, &want) == Status::kOk);
        REQUIRE(want.size() == model->hidden_size());
        double length = 0;
        for (const float value : want) length += double{value} * double{value};
        if (normalize) CHECK(length == doctest::Approx(1).epsilon(1e-6));
        const auto rows = Rows(session, ids);
        std::vector<float> expected = rows.back();
        if (pooling == Pooling::kMean) {
          for (size_t i = 0; i < expected.size(); ++i) {
            double sum = 0;
            for (const auto& row : rows) sum += double{row[i]};
            expected[i] = static_cast<float>(sum / static_cast<double>(rows.size()));
          }
        }
        if (!normalize) CHECK(expected == want);
        for (const size_t split : {1, 7, 100}) {
          Session other(*model, Options(SessionOutput::kHidden, 1 + split % 3, split, split));
          std::vector<float> got;
          REQUIRE(Embed(other, ids, options, &got) == Status::kOk);
          CHECK(got == want);
          REQUIRE(Embed(other, ids, options, &got) == Status::kOk);  // the prompt is kept
          CHECK(got == want);
        }
      }
    }
  }
}

TEST_CASE("what a session of hidden states cannot do is an error, and it needs less memory") {
  const auto model = Model::Open(SourceDir() + "/examples/tiny/tiny.glint");
  const SessionOptions options = Options(SessionOutput::kHidden);
  Session hidden(*model, options), logits(*model, Options(SessionOutput::kLogits));
  std::vector<float> embedding;
  CHECK_THROWS_WITH_AS(Embed(logits, SomeIds(*model, 5), {}, &embedding),
                       doctest::Contains("needs a session of hidden states"), Error);
  CHECK_THROWS_WITH_AS(Generate(hidden, SomeIds(*model, 5), {}, {}),
                       doctest::Contains("no logits to draw from"), Error);
  std::vector<int32_t> too_long = SomeIds(*model, 200);
  CHECK(Embed(hidden, too_long, {}, &embedding) == Status::kContextFull);
  CHECK(embedding.empty());
  const MemoryEstimate estimate = EstimateMemory(*model, options);
  CHECK(estimate.Total() < EstimateMemory(*model, Options(SessionOutput::kLogits)).Total());
  CHECK(estimate.activations ==
        hidden.prompt_plan().arena_bytes() + hidden.batch_plan().arena_bytes());
}
