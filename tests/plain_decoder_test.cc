// The judge (tests/plain_decoder.h) judged: against outputs of the published implementations
// (reference_dir/goldens, reference_dir/trained) and of llama.cpp (reference_dir/gguf).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/plain_decoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/import/checkpoint.h"
#include "tests/npy.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;

namespace {

TensorMap TensorsOf(const Checkpoint& checkpoint) {
  TensorMap tensors;
  for (const SourceTensor& t : checkpoint.tensors()) {
    PlainTensor& plain = tensors[t.name];
    plain.shape.assign(t.shape.begin(), t.shape.end());
    plain.values.resize(t.elements);
    checkpoint.ReadF32(t, 0, t.elements, plain.values.data());
  }
  return tensors;
}

// The largest difference from the logits of a case, of which the first row of a batch counts.
double Difference(const std::string& model, const std::string& name) {
  const auto checkpoint = Checkpoint::Open(model);
  const std::string folder = model + "/cases/" + name + "/";
  const NpyArray ids = ReadNpy(folder + "input_ids.npy"), logits = ReadNpy(folder + "logits.npy");
  const std::vector<int32_t> row(ids.integers.begin(), ids.integers.end());
  const std::vector<double> plain = PlainLogits(checkpoint->config(), TensorsOf(*checkpoint), row);
  REQUIRE(plain.size() == logits.floats.size());
  double difference = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    difference = std::max(difference, std::fabs(plain[i] - logits.floats[i]));
  }
  return difference;
}

}  // namespace

TEST_CASE("the plain decoder gives what the published implementations gave") {
  if (SkipWithoutReference("plain_decoder")) return;
  const struct {
    const char* model;
    std::vector<const char*> cases;
  } kModels[] = {
      {"goldens/llama-tiny-mha", {"p1", "p12", "p33", "p150"}},
      {"goldens/llama-tiny-gqa", {"p1", "p12", "p33", "p150"}},
      {"goldens/qwen2-tiny", {"p1", "p12", "p33", "p150"}},
      {"goldens/chatglm2-tiny", {"p2", "p12", "p33", "p200"}},
      {"goldens/chatglm3-tiny", {"p2", "p12", "p33", "p200"}},
      {"goldens/glm4-tiny", {"p2", "p12", "p33", "p200"}},
      {"trained/stories260K", {"once"}},
  };
  for (const auto& m : kModels) {
    for (const char* name : m.cases) {
      CAPTURE(m.model);
      CAPTURE(name);
      const double difference = Difference(ReferenceDir() + "/" + m.model, name);
      CHECK(difference < 2e-4);
    }
  }
}
