#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/sampler.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/npy.h"

// Causal models against the outputs of the published implementations (reference_dir/goldens).
namespace glint::test {

inline constexpr float kTolerance = 2e-4f;

inline SessionOptions ExactSession() {
  SessionOptions options;
  options.kv = KvType::kF32;
  options.threads = 2;
  return options;
}

// The logits of every token of a prompt, row by row.
inline std::vector<float> AllLogits(Session& session, std::span<const int32_t> ids) {
  std::vector<float> all;
  const size_t width = session.model().n_outputs();
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i)
      all.insert(all.end(), rows + i * stride, rows + i * stride + width);
  };
  const OutputSink sink(collect);
  REQUIRE(session.Start(ids, &sink) == Status::kOk);
  REQUIRE(all.size() == ids.size() * width);
  return all;
}

inline float MaxDifference(const float* a, const float* b, size_t n) {
  float difference = 0;
  for (size_t i = 0; i < n; ++i) difference = std::max(difference, std::fabs(a[i] - b[i]));
  return difference;
}

inline std::vector<int32_t> Ids(const NpyArray& array) {
  return {array.integers.begin(), array.integers.end()};
}

// A prompt's logits, and the greedy continuation with its logits where they are there.
inline void CheckCase(const Model& model, const std::string& folder) {
  CAPTURE(folder);
  const NpyArray logits = ReadNpy(folder + "/logits.npy");
  const NpyArray greedy_ids = ReadNpy(folder + "/greedy_ids.npy");
  const std::string greedy_path = folder + "/greedy_logits.npy";
  const NpyArray greedy_logits =
      std::filesystem::exists(greedy_path) ? ReadNpy(greedy_path) : NpyArray{};
  Session session(model, ExactSession());
  const std::vector<int32_t> ids = Ids(ReadNpy(folder + "/input_ids.npy"));
  const std::vector<float> all = AllLogits(session, ids);
  REQUIRE(all.size() == logits.floats.size());
  CHECK(MaxDifference(all.data(), logits.floats.data(), all.size()) <= kTolerance);
  const size_t vocab = model.n_outputs();
  for (size_t step = 0; step < greedy_ids.Dim(1); ++step) {
    CAPTURE(step);
    if (!greedy_logits.floats.empty()) {
      const float* want = greedy_logits.floats.data() + step * vocab;
      CHECK(MaxDifference(session.logits().data(), want, vocab) <= kTolerance);
    }
    const int32_t id = Sampler::Greedy(session.logits());
    REQUIRE(id == greedy_ids.integers[step]);
    REQUIRE(session.Append(id) == Status::kOk);
  }
}

// Rows that are padded on the left, each alone without its padding.
inline void CheckPaddedBatch(const Model& model, const std::string& folder,
                             const char* logits_name) {
  CAPTURE(folder);
  const NpyArray input_ids = ReadNpy(folder + "/input_ids.npy");
  const NpyArray mask = ReadNpy(folder + "/attention_mask.npy");
  const NpyArray logits = ReadNpy(folder + "/" + logits_name);
  const size_t n = input_ids.Dim(1), vocab = model.n_outputs();
  Session session(model, ExactSession());
  for (size_t row = 0; row < input_ids.Dim(0); ++row) {
    std::vector<int32_t> ids;
    for (size_t i = row * n; i < (row + 1) * n; ++i) {
      if (mask.integers[i] == 1) ids.push_back(static_cast<int32_t>(input_ids.integers[i]));
    }
    const std::vector<float> all = AllLogits(session, ids);
    const float* want = logits.floats.data() + ((row + 1) * n - ids.size()) * vocab;
    CHECK(MaxDifference(all.data(), want, all.size()) <= kTolerance);
  }
}

// The cases of a golden folder from each of its five checkpoint files; `more` (may be empty) checks
// others, given the folder of the cases.
inline void CheckGoldens(const std::string& name, const std::vector<std::string>& cases,
                         const std::function<void(const Model&, const std::string&)>& more = {}) {
  const std::string folder = ReferenceDir() + "/goldens/" + name + "/";
  for (const char* file : {"model.safetensors", "model-f16.safetensors", "model-bf16.safetensors",
                           "pytorch_model.bin", "pytorch_model-f16.bin"}) {
    CAPTURE(std::string(file));
    const std::unique_ptr<Model> model = ConvertAndOpen(folder + file, DType::kF32);
    for (const std::string& test : cases) CheckCase(*model, folder + "cases/" + test);
    if (more) more(*model, folder + "cases/");
  }
}

}  // namespace glint::test
