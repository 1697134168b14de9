// What a conversion learns from a text, and the recipes that use it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "formats/convert/calibration.h"
#include "formats/convert/convert.h"
#include "formats/convert/gptq.h"
#include "formats/convert/sensitivity.h"
#include "lib/error.h"
#include "lib/perplexity.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "tests/llama_samples.h"
#include "tests/npy.h"
#include "tests/system.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

std::string Tiny() { return SourceDir() + "/examples/tiny/model"; }
std::string Golden(const std::string& rest) { return ReferenceDir() + "/goldens/" + rest; }
std::string Stories() { return ReferenceDir() + "/trained/stories260K"; }

// Text that the tiny model can read, some 4000 tokens of it.
std::string SomeText() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text += "What is " + std::to_string(i % 40) + " plus " + std::to_string(i % 7) + "? " +
            std::to_string(i % 40 + i % 7) + "\n\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82";
  }
  return text;
}

struct Converted {
  std::string path;
  std::string bytes;
};

Converted ConvertWith(const std::string& source, const std::string& calibrate, Recipe recipe,
                      DType type, size_t threads, const std::string& name, size_t tokens = 0) {
  ConvertOptions options;
  options.source = source;
  options.write.output = TempDir() + "/" + name;
  options.write.overwrite = true;
  options.write.threads = threads;
  options.has_type = true;
  options.type = type;
  options.recipe = recipe;
  options.calibrate = calibrate;
  options.calibrate_tokens = tokens;
  Convert(options);
  return {options.write.output, ReadFile(options.write.output)};
}

SourceWeight& Find(SourceModel* source, const std::string& name) {
  for (SourceWeight& weight : source->weights) {
    if (weight.name == name) return weight;
  }
  throw Error("no such weight: " + name);
}

std::vector<float> RunAll(StagedModel& model) {
  StagedModel::Rows rows = model.Embed(SIZE_MAX);
  for (size_t stage = 0; stage < model.stages().size(); ++stage) {
    model.Load(stage);
    model.Run(&rows, true, {}, {});
  }
  return rows;
}

SessionOptions WindowSession(size_t window) {
  SessionOptions options;
  options.context = options.max_outputs = window;
  options.threads = 2;
  return options;
}

// Perplexity of the reference windows, and KL divergence from the f32 model.
struct Quality {
  double perplexity, kl;
};

Quality QualityOf(const std::string& path, const std::string& base_path) {
  const std::unique_ptr<Model> model = Model::Open(path), base = Model::Open(base_path);
  const NpyArray windows = ReadNpy(Stories() + "/ppl/windows.npy");
  const WindowSet set = RowWindows("windows", {windows.integers.begin(), windows.integers.end()},
                                   windows.Dim(0), windows.Dim(1));
  SessionOptions options = WindowSession(windows.Dim(1));
  Session session(*model, options);
  options.kv = KvType::kF32;
  Session base_session(*base, options);
  const TokenScores scores = ScoreWindows(session, &base_session, set);
  return {std::exp(MeanOf(scores.nll).mean), MeanOf(scores.kl).mean};
}

// A NumPy file of windows that the model draws itself, which have nothing of those it is scored on.
std::string OwnStories(const std::string& path, size_t n_windows, size_t window) {
  const std::unique_ptr<Model> model = Model::Open(path);
  Session session(*model, WindowSession(window));
  SamplerOptions options;
  options.temperature = 1;
  options.top_p = 1;
  options.top_k = 0;
  Sampler sampler(options, model->n_outputs());
  std::vector<int32_t> all;
  for (size_t w = 0; w < n_windows; ++w) {
    std::vector<int32_t> ids = {1};
    REQUIRE(session.Start(ids) == Status::kOk);
    while (ids.size() < window) {
      ids.push_back(sampler.Sample(session.logits(), {}));
      REQUIRE(session.Append(ids.back()) == Status::kOk);
    }
    all.insert(all.end(), ids.begin(), ids.end());
  }
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (" +
                       std::to_string(n_windows) + ", " + std::to_string(window) + "), }";
  header.resize(117, ' ');
  const std::string npy = TempDir() + "/stories.npy";
  WriteFile(npy, std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" +
                     std::string(reinterpret_cast<const char*>(all.data()), all.size() * 4));
  return npy;
}

}  // namespace

TEST_CASE("windows of a text: half context, half reply, spread over it") {
  const SourceModel source = OpenSource(Tiny());
  const TokenWindows windows = WindowsOfText(source, SomeText(), 1000, 100, "text");
  CHECK(windows.length == 100);
  CHECK(windows.n() == 10);
  const auto gmask = (*source.header.prompt)["gmask_id"].get<int32_t>();
  const auto sop = (*source.header.prompt)["sop_id"].get<int32_t>();
  for (size_t w = 0; w < windows.n(); ++w) {
    const int32_t* ids = windows.ids.data() + w * windows.length;
    CHECK(ids[49] == gmask);
    CHECK(ids[50] == sop);
    CHECK(std::count(ids, ids + 100, sop) == 1);
  }
  CHECK(WindowsOfText(source, SomeText(), 1000, 100, "text").ids == windows.ids);
  CHECK(WindowsOfText(source, SomeText(), 50, 100, "text").n() == 1);
  CHECK_THROWS_WITH_AS(WindowsOfText(source, "hi", 1000, 100, "text"),
                       doctest::Contains("text: a text of"), Error);
}

TEST_CASE("a model without a tokenizer is calibrated with ids") {
  const SourceModel source = OpenSource(test::LlamaFolder({}));
  CHECK_THROWS_WITH_AS(WindowsOfText(source, "a text", 1000, 0, "text"),
                       doctest::Contains("has no tokenizer"), Error);
}

TEST_CASE("moments are the mean squares of what the linears read") {
  if (SkipWithoutReference("chatglm1-tiny goldens")) return;
  const SourceModel source = OpenSource(Golden("chatglm1-tiny/model.safetensors"));
  const NpyArray ids = ReadNpy(Golden("chatglm1-tiny/cases/gmask_long/input_ids.npy"));
  const TokenWindows windows{ids.Dim(1), {ids.integers.begin(), ids.integers.end()}};
  StagedModel model(source, windows, 2);
  const Moments moments = MeasureMoments(model, SIZE_MAX, {});
  CHECK(moments.size() == 3 * 4 + 1);
  const auto check = [&](const std::string& weight, const std::string& activation) {
    const NpyArray act = ReadNpy(Golden("chatglm1-tiny/cases/gmask_long/act/" + activation));
    const std::vector<float>& found = moments.at(weight);
    REQUIRE(act.floats.size() == found.size() * windows.length);
    for (size_t c = 0; c < found.size(); ++c) {
      double sum = 0;
      for (size_t t = 0; t < windows.length; ++t) {
        sum += std::pow(double(act.floats[t * found.size() + c]), 2);
      }
      const double mean = sum / static_cast<double>(windows.length);
      CHECK(double(found[c]) == doctest::Approx(mean).epsilon(1e-3));
    }
  };
  check("layer.0.qkv.weight", "l0.ln1.npy");
  check("layer.2.ffn_up.weight", "l2.ln2.npy");
  check("layer.1.attn_out.weight", "l1.ctx.npy");
  check("lm_head", "final_ln.npy");
  StagedModel one_thread(source, windows, 1);
  CHECK(MeasureMoments(one_thread, SIZE_MAX, {}) == moments);
}

TEST_CASE("scales folded into norms change nothing but what quantizing loses") {
  if (SkipWithoutReference("llama-tiny-gqa goldens")) return;
  SourceModel source = OpenSource(Golden("llama-tiny-gqa/model.safetensors"));
  const NpyArray ids = ReadNpy(Golden("llama-tiny-gqa/cases/p150/input_ids.npy"));
  const TokenWindows windows{ids.Dim(1), {ids.integers.begin(), ids.integers.end()}};
  StagedModel model(source, windows, 2);
  const std::vector<float> before = RunAll(model);
  Moments moments = MeasureMoments(model, SIZE_MAX, {});
  // One column that is large makes scaling worth while.
  SourceWeight& norm = Find(&source, "layer.0.ffn_norm.weight");
  float weight;
  std::memcpy(&weight, norm.bytes.data(), sizeof weight);
  const Moments unscaled = moments;
  for (const char* name : {"layer.0.ffn_gate.weight", "layer.0.ffn_up.weight"}) {
    moments.at(name)[0] *= 400;
  }
  const size_t scaled = FoldScales(
      &source, [](const SourceWeight&) { return DType::kInt4; }, &moments, model.pool());
  CHECK(scaled >= 1);
  float after;
  std::memcpy(&after, norm.bytes.data(), sizeof after);
  CHECK(std::fabs(after) < std::fabs(weight));
  CHECK(moments.at("layer.0.ffn_down.weight") == unscaled.at("layer.0.ffn_down.weight"));
  const std::vector<float> now = RunAll(model);
  float worst = 0, largest = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    worst = std::max(worst, std::fabs(now[i] - before[i]));
    largest = std::max(largest, std::fabs(before[i]));
  }
  CHECK(worst <= 1e-5f * largest);
}

TEST_CASE("a norm whose output goes on elsewhere keeps its scale") {
  // ChatGLM's residual carries it; its head is tied, or of the vocabulary.
  SourceModel source = OpenSource(Tiny());
  const TokenWindows windows = WindowsOfText(source, SomeText(), 200, 100, "text");
  StagedModel model(source, windows, 2);
  Moments moments = MeasureMoments(model, SIZE_MAX, {});
  CHECK(FoldScales(
            &source, [](const SourceWeight&) { return DType::kInt3; }, &moments, model.pool()) == 0);
}

TEST_CASE("a norm whose weights serve another one too keeps its scale") {
  SourceModel source = OpenSource(test::LlamaFolder({}));
  Moments moments;
  for (const SourceWeight& weight : source.weights) {
    if (weight.role != ImportTensor::Role::kMatrix) continue;
    moments[weight.name].assign(weight.shape[1], 1.0f);
    moments[weight.name][0] = 1e4f;
  }
  const TypeOf int3 = [](const SourceWeight&) { return DType::kInt3; };
  ThreadPool pool(1);
  SourceModel alone = OpenSource(test::LlamaFolder({}));
  Moments some = moments;
  CHECK(FoldScales(&alone, int3, &some, pool) == 4);
  // As a .glint file may say it. The tied one has no bytes of its own.
  SourceWeight& tied = Find(&source, "layer.1.attn_norm.weight");
  tied.tied_to = "layer.0.ffn_norm.weight";
  tied.bytes.clear();
  const std::vector<uint8_t> before = Find(&source, tied.tied_to).bytes;
  CHECK(FoldScales(&source, int3, &moments, pool) == 2);
  CHECK(Find(&source, tied.tied_to).bytes == before);
}

TEST_CASE("matrices that are quantized already stay so in every recipe") {
  const std::string text = TempDir() + "/text.txt";
  WriteFile(text, SomeText());
  const Converted fast = ConvertWith(Tiny(), "", Recipe::kFast, DType::kInt4, 2, "fast4.glint");
  const std::unique_ptr<Model> before = Model::Open(fast.path);
  for (const Recipe recipe : {Recipe::kBalanced, Recipe::kBest}) {
    if (recipe == Recipe::kBest && !GptqAvailable()) continue;
    ConvertOptions options;
    options.source = fast.path;
    options.write.output = TempDir() + "/again.glint";
    options.write.overwrite = true;
    options.recipe = recipe;
    options.calibrate = text;
    options.calibrate_tokens = 700;
    Convert(options);
    const std::unique_ptr<Model> after = Model::Open(options.write.output);
    for (const Tensor& tensor : before->file().tensors()) {
      CAPTURE(tensor.name);
      const Tensor* same = after->file().Find(tensor.name);
      REQUIRE(same != nullptr);
      REQUIRE(same->dtype == tensor.dtype);
      CHECK(std::memcmp(same->data, tensor.data, tensor.bytes) == 0);
    }
  }
}

TEST_CASE("bits are spent where they take most sensitivity away") {
  const SourceModel source = OpenSource(test::LlamaFolder({}));
  Moments moments;
  Sensitivities sensitivities;
  uint64_t weights = 0;
  for (const SourceWeight& weight : source.weights) {
    if (weight.role != ImportTensor::Role::kMatrix) continue;
    moments[weight.name].assign(weight.shape[1], 1.0f);
    sensitivities[weight.name] = 1e-6;
    weights += weight.shape[0] * weight.shape[1];
  }
  sensitivities["layer.1.attn_out.weight"] = 1;
  ThreadPool pool(2);
  const TypeOf int4 = [](const SourceWeight&) { return DType::kInt4; };
  CHECK(SpendBits(source, moments, sensitivities, int4, 0, pool).empty());
  const auto few = SpendBits(source, moments, sensitivities, int4, 0.3, pool);
  REQUIRE(few.count("layer.1.attn_out.weight") == 1);
  CHECK(few.at("layer.1.attn_out.weight") == DType::kInt8);
  uint64_t bytes[2] = {};
  for (const SourceWeight& weight : source.weights) {
    if (weight.role != ImportTensor::Role::kMatrix) continue;
    MatrixLayout layout;
    ComputeLayout(DType::kInt4, BlockOffset::kNone, weight.shape[0], weight.shape[1], &layout);
    bytes[0] += layout.bytes;
    const auto found = few.find(weight.name);
    if (found != few.end()) {
      ComputeLayout(found->second, BlockOffset::kNone, weight.shape[0], weight.shape[1], &layout);
    }
    bytes[1] += layout.bytes;
  }
  CHECK(8.0 * static_cast<double>(bytes[1] - bytes[0]) <= 0.3 * static_cast<double>(weights));
  const auto all = SpendBits(source, moments, sensitivities, int4, 100, pool);
  CHECK(all.size() == sensitivities.size());
}

TEST_CASE("the same file with any number of threads and on every target") {
  // More than the widest input, so that GPTQ does all; no more, since the reference is slow.
  constexpr size_t kFew = 700;
  const std::string text = TempDir() + "/text.txt";
  WriteFile(text, SomeText());
  for (const Recipe recipe : {Recipe::kFast, Recipe::kBalanced, Recipe::kBest}) {
    CAPTURE(std::string(Name(recipe)));
    if (recipe == Recipe::kBest && !GptqAvailable()) continue;
    const std::string calibrate = recipe == Recipe::kFast ? "" : text;
    const Converted one = ConvertWith(Tiny(), calibrate, recipe, DType::kInt4, 1, "one.glint", kFew);
    const Converted two = ConvertWith(Tiny(), calibrate, recipe, DType::kInt4, 2, "two.glint", kFew);
    CHECK(one.bytes == two.bytes);
    if (recipe != Recipe::kBest) {  // it takes its time there
      test::SetVariable("GLINT_ISA", "reference");
      const Converted reference =
          ConvertWith(Tiny(), calibrate, recipe, DType::kInt4, 2, "reference.glint", kFew);
      test::ClearVariable("GLINT_ISA");
      CHECK(one.bytes == reference.bytes);
    }
    const std::unique_ptr<Model> model = Model::Open(one.path);
    const std::string described = model->file().header().metadata->dump();
    CHECK((described.find(Name(recipe)) != std::string::npos) == (recipe != Recipe::kFast));
    CHECK((described.find("text.txt") != std::string::npos) == (recipe != Recipe::kFast));
    CHECK((described.find("blas") != std::string::npos) == (recipe == Recipe::kBest));
  }
}

TEST_CASE("stories260K: best is much nearer to f32 than fast") {
  if (SkipWithoutReference("trained/stories260K")) return;
  if (!GptqAvailable()) return;
  const std::string f32 = ConvertWith(Stories(), "", Recipe::kFast, DType::kF32, 2, "f32.glint").path;
  const std::string windows = OwnStories(f32, 32, 256);
  const Quality fast = QualityOf(
      ConvertWith(Stories(), "", Recipe::kFast, DType::kInt4, 2, "fast.glint").path, f32);
  const Quality best = QualityOf(
      ConvertWith(Stories(), windows, Recipe::kBest, DType::kInt4, 2, "best.glint").path, f32);
  std::printf("stories260K, int4: fast %.4f (KL %.5f), best %.4f (KL %.5f)\n", fast.perplexity,
              fast.kl, best.perplexity, best.kl);
  // The divergence is the sharp gauge. Perplexity moves by 1% from one choice of OpenBLAS's kernels, and so
  // of codes, to another; bench/quality.py has the figures.
  CHECK(best.kl <= 0.7 * fast.kl);
  CHECK(best.perplexity < fast.perplexity);
}

TEST_CASE("what cannot be calibrated is an error, and there is no file") {
  const std::string text = TempDir() + "/short.txt";
  WriteFile(text, "hi");
  CHECK_THROWS_WITH_AS(ConvertWith(Tiny(), text, Recipe::kBalanced, DType::kInt4, 1, "x.glint"),
                       doctest::Contains("too short"), Error);
  CHECK_THROWS_AS(
      ConvertWith(Tiny(), TempDir() + "/none.txt", Recipe::kBalanced, DType::kInt4, 1, "x.glint"),
      Error);
  const std::string npy = TempDir() + "/ids.npy";
  const auto write_ids = [&](const std::string& shape, const std::string& ids) {
    std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': " + shape + ", }";
    header.resize(117, ' ');
    WriteFile(npy, std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" + ids);
  };
  write_ids("(1, 2)", std::string("\x05\0\0\0\xff\xff\xff\x7f", 8));
  CHECK_THROWS_WITH_AS(ConvertWith(Tiny(), npy, Recipe::kBalanced, DType::kInt4, 1, "x.glint"),
                       doctest::Contains("ids.npy: row 0, column 1: not an id below"), Error);
  write_ids("(1, 100000)", std::string(400000, '\0'));
  CHECK_THROWS_WITH_AS(ConvertWith(Tiny(), npy, Recipe::kBalanced, DType::kInt4, 1, "x.glint"),
                       doctest::Contains("ids.npy: windows of 100000 tokens;"), Error);
  CHECK_THROWS(ReadFile(TempDir() + "/x.glint"));
}

TEST_CASE("an output that exists is refused before the calibration") {
  ConvertOptions options;
  options.source = Tiny();
  options.write.output = TempDir() + "/there.glint";
  options.recipe = Recipe::kBalanced;
  options.calibrate = TempDir() + "/none.txt";
  WriteFile(options.write.output, "x");
  CHECK_THROWS_WITH_AS(Convert(options), doctest::Contains("exists already"), Error);
}
