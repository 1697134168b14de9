// Numbers that are none: refused where weights are quantized, found by verify, and reported by a session
// instead of being sampled from.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "formats/convert/convert.h"
#include "lib/check_numbers.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/session.h"
#include "quant/f16.h"
#include "tests/cli.h"
#include "tests/llama_samples.h"

namespace glint {
namespace {
using namespace test;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min() * 1000;
constexpr DType kTypes[] = {DType::kF32,   DType::kF16,  DType::kBF16, DType::kInt8,
                            DType::kInt6,  DType::kInt4, DType::kInt4x, DType::kInt3};

std::string ErrorOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string Converted(const std::string& folder, DType type) {
  ConvertOptions options;
  options.source = folder;
  options.write.output = TempDir() + "/model.glint";
  options.write.threads = 1;
  options.has_type = true;
  options.type = type;
  options.search = false;
  Convert(options);
  return options.write.output;
}

// Replaces element `index` of an f32 tensor of a safetensors file.
void Poke(const std::string& folder, const std::string& name, size_t index, float value) {
  const std::string path = folder + "/model.safetensors";
  std::string file = ReadFile(path);
  uint64_t header_bytes;
  std::memcpy(&header_bytes, file.data(), 8);
  const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
  const size_t at = 8 + header_bytes + header.at(name).at("data_offsets")[0].get<size_t>() + 4 * index;
  std::memcpy(file.data() + at, &value, sizeof value);
  WriteFile(path, file);
}

TEST_CASE("the quantizers refuse what they cannot store, by tensor and place, and leave no file") {
  const std::string folder = LlamaFolder({});
  const std::string good = ReadFile(folder + "/model.safetensors");
  struct Place {
    const char* theirs;
    size_t index;
    const char* words[2];  // of the message
  };
  const Place kPlaces[] = {
      {"model.layers.1.mlp.down_proj.weight", 172 * 5 + 33, {"down", "row 5, column 33"}},
      {"model.embed_tokens.weight", 64 * 95 + 1, {"embed", "row 95, column 1"}},
      {"model.layers.0.input_layernorm.weight", 7, {"norm", "element 7"}},
      {"model.norm.weight", 63, {"norm", "element 63"}},
  };
  for (const DType type : kTypes) {
    for (const Place& place : kPlaces) {
      for (const float bad : {kNan, kInf, -kInf}) {
        CAPTURE(std::string(Info(type).name));
        CAPTURE(std::string(place.theirs));
        WriteFile(folder + "/model.safetensors", good);
        Poke(folder, place.theirs, place.index, bad);
        const std::string output = TempDir() + "/out.glint";
        ConvertOptions options;
        options.source = folder;
        options.write.output = output;
        options.write.threads = 1;
        options.has_type = true;
        options.type = type;
        const std::string message = ErrorOf([&] { Convert(options); });
        CAPTURE(message);
        for (const char* word : place.words) CHECK(message.find(word) != std::string::npos);
        CHECK(message.find(std::isnan(bad) ? "nan" : "inf") != std::string::npos);
        CHECK(FilesIn(output.substr(0, output.rfind('/'))) == 0);
      }
    }
  }
}

TEST_CASE("numbers at the edge of a type: kept, or refused by name") {
  const std::string folder = LlamaFolder({});
  Poke(folder, "model.layers.0.mlp.up_proj.weight", 3, 1e38f);
  for (const DType type : kTypes) {
    CAPTURE(std::string(Info(type).name));
    std::string path;
    const std::string message = ErrorOf([&] { path = Converted(folder, type); });
    CAPTURE(message);
    const bool is_kept = message.empty();
    if (!is_kept) CHECK(message.find("row 0, column 3: ") != std::string::npos);
    CHECK(is_kept == (type == DType::kF32 || type == DType::kBF16));
    if (!is_kept) continue;
    const auto model = Model::Open(path);
    CheckNumbers(model->file());
    Session session(*model, {});
    const std::vector<int32_t> ids = {1, 90, 17};
    const Status status = session.Start(ids);
    CHECK((status == Status::kNonFinite || status == Status::kOk));
    if (status != Status::kOk) continue;
    for (const float logit : session.logits()) CHECK(std::isfinite(logit));
  }
}

TEST_CASE("denormal weights convert and run everywhere") {
  const std::string folder = LlamaFolder({});
  for (size_t i = 0; i < 64 * 172; ++i) {
    if (i % 97 == 0) Poke(folder, "model.layers.0.mlp.up_proj.weight", i, kDenormal);
  }
  for (size_t i = 0; i < 64; ++i) Poke(folder, "model.layers.1.mlp.gate_proj.weight", i, kDenormal);
  for (const DType type : kTypes) {
    CAPTURE(std::string(Info(type).name));
    const auto model = Model::Open(Converted(folder, type));
    Session session(*model, {});
    const std::vector<int32_t> ids = {1, 90, 17};
    CHECK(session.Start(ids) == Status::kOk);
  }
}

// A model's file in memory, one number of which is replaced behind its checksum's back.
class PokedModel {
 public:
  explicit PokedModel(const std::string& path) : bytes_(ReadFile(path)), model_(Model::Open(path)) {}
  // The first number of the tensor that can be bad: of floats an element, else a scale.
  std::unique_ptr<Model> With(const Tensor& tensor, float value) {
    poked_ = bytes_;
    const uint8_t* const first = model_->file().tensors()[0].data;
    uint8_t* const data = reinterpret_cast<uint8_t*>(poked_.data()) + model_->file().data_offset() +
                          (tensor.data - first);
    DType stored = tensor.dtype;
    size_t at = 0;
    if (tensor.IsMatrix() && tensor.dtype == DType::kInt8) stored = DType::kF16;
    if (tensor.IsMatrix() && Info(tensor.dtype).has_table) {
      stored = DType::kF32;
      at = ViewOf(tensor).layout.row_scales;
    }
    const uint16_t half = stored == DType::kBF16 ? F32ToBF16(value) : F32ToF16(value);
    if (stored == DType::kF32) {
      std::memcpy(data + at, &value, sizeof value);
    } else {
      std::memcpy(data + at, &half, sizeof half);
    }
    return Model::FromMemory(poked_.data(), poked_.size(), "poked");
  }
  const GlintFile& file() const { return model_->file(); }

 private:
  std::string bytes_, poked_;
  std::unique_ptr<Model> model_;
};

// What a session with these weights says; never numbers that are not finite under kOk.
Status Outcome(const Model& model) {
  SessionOptions options;
  options.context = 16;
  options.threads = 1;
  options.max_batch = 2;
  std::unique_ptr<Session> made;
  try {
    made = std::make_unique<Session>(model, options);
  } catch (const Error& error) {
    // Rotary frequencies are looked at when their tables are made.
    REQUIRE(std::string(error.what()).find("rope.inv_freq") != std::string::npos);
    return Status::kNonFinite;
  }
  Session& session = *made;
  const std::vector<int32_t> ids = {0, 1, 90, 0};  // row 0 of the embedding is read
  const Status status = session.Start(ids);
  if (status != Status::kOk) {
    REQUIRE(status == Status::kNonFinite);
    CHECK_THROWS_AS(session.Append(1), Error);  // there is no sequence to go on with
    return status;
  }
  for (const float logit : session.logits()) REQUIRE(std::isfinite(logit));
  // Every way to go on refuses, or gives finite numbers.
  const std::vector<int32_t> two = {0, 5};
  if (session.AppendBatch(two) == Status::kOk) {
    for (size_t i = 0; i < 2; ++i) {
      for (const float logit : session.BatchLogits(i)) REQUIRE(std::isfinite(logit));
    }
  }
  return status;
}

TEST_CASE("nan and inf in any tensor of a loaded file are found by name and never sampled") {
  const std::string folder = LlamaFolder({});
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kInt8, DType::kInt4}) {
    PokedModel poked(Converted(folder, type));
    CheckNumbers(poked.file());
    size_t n_reported = 0, n_tensors = 0;
    for (size_t i = 0; i < poked.file().tensors().size(); ++i) {
      const Tensor& tensor = poked.file().tensors()[i];
      if (!poked.file().TiedTo(i).empty() || tensor.dtype == DType::kI32) continue;
      ++n_tensors;
      for (const float bad : {kNan, kInf, -kInf}) {
        CAPTURE(std::string(Info(type).name));
        CAPTURE(tensor.name);
        CAPTURE(bad);
        const auto model = poked.With(tensor, bad);
        const std::string message = ErrorOf([&] { CheckNumbers(model->file()); });
        CHECK(message.find("poked: tensor '" + tensor.name + "': ") == 0);
        CHECK(message.find("expected a finite number") != std::string::npos);
        const Status status = Outcome(*model);
        if (std::isnan(bad)) CHECK(status == Status::kNonFinite);
        n_reported += status == Status::kNonFinite ? 1 : 0;
      }
      for (const float odd : {1e38f, 60000.0f, 1e-7f, kDenormal, -0.0f}) {
        const bool fits = tensor.dtype != DType::kF16 && tensor.dtype != DType::kInt8;
        if (odd > 65504 && !fits) continue;
        Outcome(*poked.With(tensor, odd));
      }
    }
    CHECK(n_reported > 2 * n_tensors);  // inf may be multiplied by 0 or lost to a softmax
  }
}

TEST_CASE("activations that overflow are reported") {
  // Each matrix scaled until floats no longer reach; the norms do not help where a product overflows.
  const std::string folder = LlamaFolder({});
  for (size_t i = 0; i < 64; ++i) {
    Poke(folder, "model.layers.0.post_attention_layernorm.weight", i, 1e30f);
  }
  for (const DType type : {DType::kF32, DType::kInt8, DType::kInt4}) {
    const auto model = Model::Open(Converted(folder, type));
    CHECK(Outcome(*model) == Status::kNonFinite);
    Session session(*model, {});
    const std::vector<int32_t> ids = {0, 1, 90, 0};
    CHECK(session.Start(ids) == Status::kNonFinite);
  }
}

TEST_CASE("samplers choose an id that exists from any logits") {
  std::vector<float> logits(64);
  for (int kind = 0; kind < 7; ++kind) {
    for (size_t i = 0; i < logits.size(); ++i) {
      const float values[] = {kNan, kInf, -kInf, 1e38f, static_cast<float>(i), -1e38f, kDenormal};
      // All alike, or mixed.
      logits[i] = kind < 6 ? values[kind] : values[(i * 5 + 3) % std::size(values)];
    }
    for (const float temperature : {0.0f, 1e-3f, 1.0f, 100.0f}) {
      for (const uint32_t top_k : {0u, 1u, 7u}) {
        SamplerOptions options;
        options.temperature = temperature;
        options.top_k = top_k;
        options.top_p = 0.9f;
        options.repetition_penalty = 1.3f;
        Sampler sampler(options, logits.size());
        const int32_t history[] = {3, 5};
        for (int n = 0; n < 20; ++n) {
          const int32_t id = sampler.Sample(logits, history);
          REQUIRE(id >= 0);
          REQUIRE(id < 64);
          if (kind == 6) CHECK_FALSE(std::isnan(logits[static_cast<size_t>(id)]));
        }
      }
    }
    const int32_t best = Sampler::Greedy(logits);
    CHECK((best >= 0 && best < 64));
  }
  const float first[] = {kNan, 1.0f, kNan, 2.0f, 2.0f};
  CHECK(Sampler::Greedy(first) == 3);
}

TEST_CASE("the program: verify --numbers names the tensor, generate ends with one line") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), path = folder + "/bad.glint";
  const std::string tiny = SourceDir() + "/examples/tiny/tiny.glint";
  CHECK(Glint({"verify", tiny, "--numbers"}).status == 0);
  std::string bytes = ReadFile(tiny);
  const auto model = Model::Open(tiny);
  for (const Tensor& tensor : model->file().tensors()) {
    if (tensor.name.find("final_norm") == std::string::npos || tensor.dtype != DType::kF32) continue;
    const uint64_t at = model->file().data_offset() +
                        static_cast<uint64_t>(tensor.data - model->file().tensors()[0].data);
    std::memcpy(bytes.data() + at, &kNan, sizeof kNan);
    WriteFile(path, bytes);
    CheckFails(1, {"verify", path}, {tensor.name, "damaged"});
    CheckFails(1, {"generate", path, "-p", "hello"}, {path, "not finite", "may be damaged"});
    return;
  }
  FAIL("no tensor was tried");
}

}  // namespace
}  // namespace glint
