// Running a model a piece at a time, against the activations of the published implementation.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "formats/convert/staged_model.h"
#include "lib/error.h"
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
