// A whole model with experts: its session, its cost, and what each recipe of conversion makes of it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "formats/convert/calibration.h"
#include "formats/convert/convert.h"
#include "formats/convert/gptq.h"
#include "formats/convert/source_model.h"
#include "lib/builder.h"
#include "lib/error.h"
#include "lib/session.h"
#include "tests/llama_samples.h"
#include "tests/npy.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

constexpr size_t kVocab = 96, kDim = 64, kHidden = 96, kShared = 48, kExperts = 5, kTopK = 2;
constexpr size_t kLayers = 2, kHeads = 4, kHeadDim = 16;

std::string Expert(const std::string& layer, size_t e, const char* word) {
  return layer + "." + word + "." + std::to_string(e) + ".weight";
}

// Layers of attention and experts, one of which no token reaches, and an expert that all share.
class MoeModel {
 public:
  // Writes it in f32; `spoil` may change a tensor's numbers.
  using Spoil = std::function<void(const std::string& name, std::vector<float>* values)>;
  static std::string Write(const std::string& name, const Spoil& spoil = {}) {
    MoeModel model(spoil);
    model.Add("embedding", kVocab, kDim);
    model.Add("rope.inv_freq", kHeadDim / 2, 0);
    for (size_t l = 0; l < kLayers; ++l) {
      const std::string layer = "layer." + std::to_string(l);
      model.Add(layer + ".attn_norm.weight", kDim, 0);
      model.Add(layer + ".qkv.weight", 3 * kHeads * kHeadDim, kDim);
      model.Add(layer + ".attn_out.weight", kDim, kHeads * kHeadDim);
      model.Add(layer + ".ffn_norm.weight", kDim, 0);
      model.Add(layer + ".router.weight", kExperts, kDim);
      for (size_t e = 0; e < kExperts; ++e) {
        model.Add(Expert(layer, e, "gate"), kHidden, kDim);
        model.Add(Expert(layer, e, "up"), kHidden, kDim);
        model.Add(Expert(layer, e, "down"), kDim, kHidden);
      }
      model.Add(layer + ".shared_gate.weight", kShared, kDim);
      model.Add(layer + ".shared_up.weight", kShared, kDim);
      model.Add(layer + ".shared_down.weight", kDim, kShared);
      model.Add(layer + ".shared_logit.weight", 1, kDim);
    }
    model.Add("final_norm.weight", kDim, 0);
    model.Add("lm_head", kVocab, kDim);
    return model.Finish(name);
  }

 private:
  explicit MoeModel(const Spoil& spoil) : spoil_(spoil) {}

  void Add(const std::string& name, size_t rows, size_t cols) {
    const bool is_vector = cols == 0;
    const float range = is_vector ? 0.25f : 2.5f / std::sqrt(static_cast<float>(cols));
    std::vector<float> values =
        test::SomeFloats(jobs_.size() + 1, rows * std::max<size_t>(1, cols), range,
                         name == "rope.inv_freq" ? 0.5f : is_vector ? 1.0f : 0.0f);
    if (spoil_) spoil_(name, &values);
    TensorJob job{{name, DType::kF32, BlockOffset::kNone, {rows}, ""}};
    if (is_vector) {
      job.bytes.resize(values.size() * sizeof(float));
      std::memcpy(job.bytes.data(), values.data(), job.bytes.size());
    } else {
      job.plan.shape.push_back(cols);
      job.fill = [cols, values](const MatrixLayout& layout, uint64_t row, uint64_t n,
                                TilePlanes planes) {
        float* to = reinterpret_cast<float*>(planes.codes);  // nan, too
        for (uint64_t r = 0; r < n; ++r) {
          for (uint64_t c = 0; c < cols; ++c) {
            to[(r / 16 * layout.cols + c) * 16 + r % 16] = values[(row + r) * cols + c];
          }
        }
      };
    }
    jobs_.push_back(std::move(job));
  }

  Graph Build() const {
    const std::vector<Tensor> metas = TensorMetas(jobs_);
    GraphBuilder g("main", {"ids", "position.0", "cache_index"}, metas, "test");
    using Value = GraphBuilder::Value;
    Value x = g.Embedding(g.Input("ids"), "embedding");
    for (size_t l = 0; l < kLayers; ++l) {
      const std::string layer = "layer." + std::to_string(l);
      g.SetPrefix(layer);
      const Value a = g.RmsNorm(x, layer + ".attn_norm.weight", 1e-6);
      auto heads = g.SplitQkv(g.Linear(a, layer + ".qkv.weight", "", "qkv"), kHeads, kHeads);
      heads.q = g.Rope(heads.q, "rope.inv_freq", {g.Input("position.0")});
      heads.k = g.Rope(heads.k, "rope.inv_freq", {g.Input("position.0")});
      const Value attention = g.Attention(heads, static_cast<int64_t>(l), "causal");
      x = g.AddScaled(x, 1.0, g.Linear(attention, layer + ".attn_out.weight", "", "attn_out"));
      x = g.AddScaled(x, 1.0, FeedForward(g, g.RmsNorm(x, layer + ".ffn_norm.weight", 1e-6), layer));
    }
    g.SetPrefix("");
    return g.Finish(g.Linear(g.RmsNorm(x, "final_norm.weight", 1e-6), "lm_head", "", "head"), "logits");
  }

  static GraphBuilder::Value FeedForward(GraphBuilder& g, GraphBuilder::Value f,
                                         const std::string& layer) {
    std::vector<std::string> gate, up, down;
    for (size_t e = 0; e < kExperts; ++e) {
      gate.push_back(Expert(layer, e, "gate"));
      up.push_back(Expert(layer, e, "up"));
      down.push_back(Expert(layer, e, "down"));
    }
    const auto routing = g.Route(g.Linear(f, layer + ".router.weight", "", "logits"), kTopK, true);
    const auto silu = g.Silu(g.RoutedLinear(f, routing, gate, "gate"));
    const auto gated = g.Mul(silu, g.RoutedLinear(f, routing, up, "up"));
    const auto mixed = g.Combine(g.RoutedLinear(gated, routing, down, "down"), routing);
    const auto one = g.Silu(g.Linear(f, layer + ".shared_gate.weight", "", "shared_gate"));
    const auto two = g.Mul(one, g.Linear(f, layer + ".shared_up.weight", "", "shared_up"));
    const auto shared = g.Linear(two, layer + ".shared_down.weight", "", "shared_down");
    const auto logit = g.Linear(f, layer + ".shared_logit.weight", "", "shared_logit");
    return g.AddScaled(mixed, 1.0, g.Gate(shared, logit));
  }

  std::string Finish(const std::string& name) {
    ModelHeader header;
    *header.metadata = {{"name", "experts"}, {"source", "test"},  {"licence", "none"},
                        {"recipe", "f32"},   {"created_by", "test"}, {"numerics", 1}};
    *header.config = {{"architecture", "test"}, {"max_seq_len", 512}};
    *header.prompt = {{"position_scheme", "sequential"}, {"bos_id", 1}, {"stop_ids", {2}}};
    header.graphs.push_back(Build());
    WriteOptions write;
    write.output = TempDir() + "/" + name;
    WriteModel(header, std::move(jobs_), write);
    return write.output;
  }

  const Spoil spoil_;
  std::vector<TensorJob> jobs_;
};

std::vector<int32_t> Ids(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>((i * i * 7 + i * 3 + 5) % kVocab);
  return ids;
}

// The logits of every token; the first `n_prompt` come as a prompt, the others one by one.
std::vector<float> Logits(const Model& model, size_t n, size_t n_prompt, size_t threads, size_t chunk) {
  SessionOptions options;
  options.context = 256;
  options.threads = threads;
  options.chunk = chunk;
  Session session(model, options);
  std::vector<float> all;
  const auto collect = [&](size_t, size_t rows, const float* logits, size_t stride) {
    for (size_t i = 0; i < rows; ++i) {
      all.insert(all.end(), logits + i * stride, logits + i * stride + kVocab);
    }
  };
  const OutputSink sink(collect);
  const std::vector<int32_t> ids = Ids(n);
  REQUIRE(session.Start({ids.data(), n_prompt}, &sink) == Status::kOk);
  for (size_t i = n_prompt; i < n; ++i) {
    REQUIRE(session.Append(ids[i]) == Status::kOk);
    all.insert(all.end(), session.logits().begin(), session.logits().end());
  }
  return all;
}

double RelativeDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double change = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    change += std::pow(double(a[i]) - double(b[i]), 2);
    size += std::pow(double(a[i]), 2);
  }
  return std::sqrt(change / size);
}

// A NumPy file of windows of ids.
std::string WindowsFile(size_t n, size_t length) {
  std::vector<int32_t> ids = Ids(n * length);
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (" + std::to_string(n) +
                       ", " + std::to_string(length) + "), }";
  header.resize(117, ' ');
  const std::string npy = TempDir() + "/windows.npy";
  WriteFile(npy, std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" +
                     std::string(reinterpret_cast<const char*>(ids.data()), ids.size() * 4));
  return npy;
}

struct Converted {
  std::string path, bytes;
  std::vector<std::string> warnings;
};

Converted ConvertWith(const std::string& source, Recipe recipe, size_t threads, const char* name) {
  Converted result;
  ConvertOptions options;
  options.source = source;
  options.write.output = result.path = TempDir() + "/" + name;
  options.write.overwrite = true;
  options.write.threads = threads;
  options.has_type = true;
  options.type = DType::kInt6;
  options.recipe = recipe;
  if (recipe != Recipe::kFast) options.calibrate = WindowsFile(8, 64);
  options.calibrate_tokens = 512;
  options.warn = [&](const std::string& warning) { result.warnings.push_back(warning); };
  Convert(options);
  result.bytes = ReadFile(result.path);
  return result;
}

}  // namespace

TEST_CASE("a model with experts: the logits do not depend on chunks, threads or how tokens come") {
  const auto model = Model::Open(MoeModel::Write("f32.glint"));
  const std::vector<float> want = Logits(*model, 150, 150, 1, 512);
  REQUIRE(want.size() == 150 * kVocab);
  CHECK(Logits(*model, 150, 150, 2, 16) == want);
  CHECK(Logits(*model, 150, 3, 2, 512) == want);
  const Model::Cost& cost = model->cost();
  const uint64_t layer = 4 * kDim * kDim + kExperts * kDim + 3 * kTopK * kDim * kHidden +
                         3 * kShared * kDim + kDim;
  CHECK(cost.linear_parameters == kLayers * layer + kVocab * kDim);
  CHECK(cost.head_parameters >= kVocab * kDim);
  CHECK(cost.chunk_bytes > cost.decode_bytes);
}

TEST_CASE("a router that is damaged is reported, not followed") {
  const auto spoiled = [](float value) {
    return [value](const std::string& name, std::vector<float>* values) {
      if (name != "layer.1.router.weight") return;
      values->at(7) = value;
      values->at(kDim + 7) = -value;  // one of the two logits is inf, not -inf, which is as good as any
    };
  };
  for (const float value : {NAN, INFINITY}) {
    const auto model = Model::Open(MoeModel::Write("damaged.glint", spoiled(value)));
    Session session(*model, {});
    CHECK(session.Start(Ids(5)) == Status::kNonFinite);
  }
}

TEST_CASE("recipes: experts are encoded, routers stay in floats, threads do not matter") {
  const std::string source = MoeModel::Write("source.glint");
  const std::vector<float> want = Logits(*Model::Open(source), 100, 100, 2, 512);
  for (const Recipe recipe : {Recipe::kFast, Recipe::kBalanced, Recipe::kBest}) {
    if (recipe == Recipe::kBest && !GptqAvailable()) continue;
    CAPTURE(std::string(Name(recipe)));
    const Converted converted = ConvertWith(source, recipe, 2, "two.glint");
    CHECK(converted.bytes == ConvertWith(source, recipe, 1, "one.glint").bytes);
    const bool warns = std::any_of(
        converted.warnings.begin(), converted.warnings.end(),
        [](const std::string& text) { return text.find("experts' matrices") != std::string::npos; });
    CHECK(warns == (recipe == Recipe::kBest));
    const auto model = Model::Open(converted.path);
    const auto type_of = [&](const char* name) { return model->file().Find(name)->dtype; };
    CHECK(type_of("layer.1.gate.3.weight") == DType::kInt6);
    CHECK(type_of("layer.0.down.1.weight") == DType::kInt6);
    CHECK(type_of("layer.0.router.weight") == DType::kF32);
    CHECK(type_of("layer.0.shared_logit.weight") == DType::kF32);
    const double difference = RelativeDifference(want, Logits(*model, 100, 100, 2, 512));
    CHECK(difference < 0.25);
    // Again from the result: what is encoded stays.
    ConvertOptions again;
    again.source = converted.path;
    again.write.output = TempDir() + "/again.glint";
    again.write.overwrite = true;
    Convert(again);
    CHECK(Logits(*Model::Open(again.write.output), 9, 9, 1, 9) == Logits(*model, 9, 9, 1, 9));
  }
}

TEST_CASE("moments of experts are of the rows that reach them, joined by some of their layer") {
  // Nothing reaches expert 1: its logit is far below all others.
  const std::string path = MoeModel::Write("lonely.glint", [](const std::string& name, auto* values) {
    if (!name.ends_with("router.weight")) return;
    for (size_t c = 0; c < kDim; ++c) values->at(kDim + c) = 0;
  });
  const SourceModel source = OpenSource(path);
  TokenWindows windows{64, Ids(256)};
  StagedModel model(source, windows, 2);
  // Attention and network of each layer, the final norm.
  REQUIRE(model.stages().size() == 2 * kLayers + 1);
  const auto& inputs = model.stages()[1].inputs;
  // The normed input (router, shared expert), each expert's of gate and up, of down, the shared down's.
  REQUIRE(inputs.size() == 1 + 2 * kExperts + 1);
  StagedModel::Rows rows = model.Embed(SIZE_MAX);
  model.Load(0);
  model.Run(&rows, true, {}, {});
  std::vector<std::vector<float>> seen(inputs.size());
  model.Load(1);
  model.Run(&rows, false, {}, [&](size_t i, const float* x, size_t stride, size_t n) {
    for (size_t t = 0; t < n; ++t) {
      seen[i].insert(seen[i].end(), x + t * stride, x + t * stride + inputs[i].cols);
    }
  });
  size_t wide = 0, deep = 0;
  std::vector<double> pooled(kDim);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].IsExpert()) {
      CHECK(seen[i].size() == 256 * inputs[i].cols);
      continue;
    }
    (inputs[i].cols == kDim ? wide : deep) += seen[i].size() / inputs[i].cols;
    for (size_t at = 0; inputs[i].cols == kDim && at < seen[i].size(); ++at) {
      pooled[at % kDim] += double(seen[i][at]) * double(seen[i][at]);
    }
  }
  CHECK(wide == 256 * kTopK);
  CHECK(deep == 256 * kTopK);
  const Moments moments = MeasureMoments(model, SIZE_MAX, {});
  for (const auto& input : inputs) {
    if (!input.IsExpert() || input.cols != kDim) continue;
    const std::vector<float>& own = seen[static_cast<size_t>(&input - inputs.data())];
    const std::vector<float>& got = moments.at(input.weights[0]);
    REQUIRE(input.weights.size() == 2);
    CHECK(moments.at(input.weights[1]) == got);
    for (size_t c = 0; c < kDim; ++c) {
      double sum = 32 * pooled[c] / (256 * kTopK);
      for (size_t at = c; at < own.size(); at += kDim) sum += double(own[at]) * double(own[at]);
      CHECK(got[c] == doctest::Approx(sum / (32 + double(own.size() / kDim))).epsilon(1e-5));
    }
  }
}
