// ChatGLM-6B's architecture against the published implementation: reference_dir/goldens/chatglm1-tiny.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "formats/convert/convert.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/npy.h"
#include "tests/test_util.h"

using namespace glint;
using glint::test::ConvertAndOpen;

namespace {

constexpr float kTolerance = 2e-4f;
constexpr int32_t kPad = 3;

std::string Golden(const std::string& rest) {
  return ReferenceDir() + "/goldens/chatglm1-tiny/" + rest;
}

SessionOptions ExactSession() {
  SessionOptions options;
  options.kv = KvType::kF32;
  options.threads = 2;
  return options;
}

// One row of a case: its ids without the left padding, and where they begin.
struct Row {
  std::vector<int32_t> ids;
  size_t padding = 0;
};

Row RowOf(const NpyArray& input_ids, size_t row) {
  Row result;
  const size_t n = input_ids.Dim(1);
  for (size_t i = 0; i < n; ++i) {
    const auto id = static_cast<int32_t>(input_ids.integers[row * n + i]);
    if (result.ids.empty() && id == kPad) {
      ++result.padding;
    } else {
      result.ids.push_back(id);
    }
  }
  return result;
}

float MaxDifference(const float* a, const float* b, size_t n) {
  float difference = 0;
  for (size_t i = 0; i < n; ++i) difference = std::max(difference, std::fabs(a[i] - b[i]));
  return difference;
}

void CheckCase(const Model& model, const std::string& name) {
  CAPTURE(name);
  const NpyArray input_ids = ReadNpy(Golden("cases/" + name + "/input_ids.npy"));
  const NpyArray logits = ReadNpy(Golden("cases/" + name + "/logits.npy"));
  const NpyArray greedy_ids = ReadNpy(Golden("cases/" + name + "/greedy_ids.npy"));
  const NpyArray greedy_logits = ReadNpy(Golden("cases/" + name + "/greedy_logits.npy"));
  const size_t vocab = logits.Dim(2), steps = greedy_ids.Dim(1);
  Session session(model, ExactSession());
  for (size_t r = 0; r < input_ids.Dim(0); ++r) {
    CAPTURE(r);
    const Row row = RowOf(input_ids, r);
    const float* want = logits.floats.data() + (r * input_ids.Dim(1) + row.padding) * vocab;
    size_t rows_seen = 0;
    float worst = 0;
    const auto compare = [&](size_t begin, size_t n, const float* rows, size_t stride) {
      for (size_t i = 0; i < n; ++i) {
        worst = std::max(worst, MaxDifference(rows + i * stride, want + (begin + i) * vocab, vocab));
      }
      rows_seen += n;
    };
    const OutputSink sink(compare);
    REQUIRE(session.Start(row.ids, &sink) == Status::kOk);
    CHECK(rows_seen == row.ids.size());
    CHECK(worst <= kTolerance);

    for (size_t step = 0; step < steps; ++step) {
      CAPTURE(step);
      const float* step_want = greedy_logits.floats.data() + (r * steps + step) * vocab;
      CHECK(MaxDifference(session.logits().data(), step_want, vocab) <= kTolerance);
      const int32_t id = Sampler::Greedy(session.logits());
      REQUIRE(id == greedy_ids.integers[r * steps + step]);
      REQUIRE(session.Append(id) == Status::kOk);
    }
  }
}

}  // namespace

TEST_CASE("every golden case from each of the five checkpoint files") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const char* const kFiles[] = {"model.safetensors", "model-f16.safetensors",
                                "model-bf16.safetensors", "pytorch_model.bin",
                                "pytorch_model-f16.bin"};
  for (const char* file : kFiles) {
    CAPTURE(std::string(file));
    const std::unique_ptr<Model> model = ConvertAndOpen(Golden(file), DType::kF32);
    size_t cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(Golden("cases"))) {
      CheckCase(*model, entry.path().filename().string());
      ++cases;
    }
    CHECK(cases == 8);
  }
}

TEST_CASE("logits do not depend on threads, chunks or how many rows come out together") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const DType kTypes[] = {DType::kF32,  DType::kF16,   DType::kBF16,
                          DType::kInt8, DType::kInt4,  DType::kInt4x,
                          DType::kInt3, DType::kInt6};
  const NpyArray input_ids = ReadNpy(Golden("cases/gmask_long/input_ids.npy"));
  const std::vector<int32_t> ids(input_ids.integers.begin(), input_ids.integers.end());
  for (const DType type : kTypes) {
    CAPTURE(std::string(Info(type).name));
    const std::unique_ptr<Model> model = ConvertAndOpen(Golden("model.safetensors"), type, false);
    std::vector<float> first;
    struct Split {
      size_t threads, chunk, outputs;
    };
    for (const Split split : {Split{1, 512, 512}, Split{2, 512, 1}, Split{3, 1, 1}, Split{2, 7, 5}}) {
      SessionOptions options;
      options.threads = split.threads;
      options.chunk = split.chunk;
      options.max_outputs = split.outputs;
      Session session(*model, options);
      std::vector<float> all;
      const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
        for (size_t i = 0; i < n; ++i) {
          all.insert(all.end(), rows + i * stride, rows + i * stride + model->n_outputs());
        }
      };
      const OutputSink sink(collect);
      REQUIRE(session.Start(ids, &sink) == Status::kOk);
      REQUIRE(session.Append(7) == Status::kOk);
      all.insert(all.end(), session.logits().begin(), session.logits().end());
      if (first.empty()) first = all;
      CHECK(all.size() == (ids.size() + 1) * model->n_outputs());
      CHECK(std::memcmp(all.data(), first.data(), all.size() * sizeof(float)) == 0);
    }
  }
}
