// Checkpoints of LLaMA-type models: which options and tensors are taken, and how the rows of
// several tensors become one.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>

#include "formats/architectures/architecture.h"
#include "formats/convert/join_rows.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/session.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

// What a conversion says; empty if it says nothing.
std::string ConvertError(const std::string& source, DType type = DType::kF32) {
  try {
    ConvertAndOpen(source, type);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the rows of q, k and v become one tensor, biases too") {
  LlamaShape shape;
  shape.head_dim = 6;  // parts that do not begin at whole tiles
  shape.bias = true;
  const std::string folder = LlamaFolder(shape);
  const std::unique_ptr<Model> model = ConvertAndOpen(folder, DType::kF32);
  const auto checkpoint = Checkpoint::Open(folder);
  for (const char* ending : {".weight", ".bias"}) {
    std::vector<float> want, got;
    for (const char* part : {"q", "k", "v"}) {
      const SourceTensor* source =
          checkpoint->Find(std::string("model.layers.1.self_attn.") + part + "_proj" + ending);
      REQUIRE(source);
      const size_t begin = want.size();
      want.resize(begin + source->elements);
      checkpoint->ReadF32(*source, 0, source->elements, want.data() + begin);
    }
    const Tensor* tensor = model->file().Find(std::string("layer.1.qkv") + ending);
    REQUIRE(tensor);
    if (tensor->IsMatrix()) {
      const MatrixView view = ViewOf(*tensor);
      got.resize(view.layout.rows * view.layout.cols);
      for (uint64_t r = 0; r < view.layout.rows; ++r) {
        DecodeRow(view, r, got.data() + r * view.layout.cols);
      }
    } else {
      got.assign(tensor->As<float>(), tensor->As<float>() + tensor->shape[0]);
    }
    CHECK(got == want);
  }
  for (const char* name : {"attn_out", "ffn_gate", "ffn_up", "ffn_down"}) {
    CHECK(model->file().Find("layer.0." + std::string(name) + ".bias"));
  }
  Session session(*model, {});
  const std::vector<int32_t> ids = {1, 90, 17, 5};
  CHECK(session.Start(ids) == Status::kOk);
}

namespace {

// A matrix of `rows` rows, which begin at row `first` of one made-up matrix, quantized or in
// floats.
SourceWeight Part(uint64_t first, uint64_t rows, std::optional<DType> type) {
  constexpr uint64_t kCols = 40;
  SourceWeight part{"part", {rows, kCols}, ImportTensor::Role::kMatrix};
  part.place = "part " + std::to_string(first);
  part.read = [first](uint64_t row, uint64_t n, float* out) {
    for (uint64_t i = 0; i < n; ++i) {
      const std::vector<float> values = SomeFloats(first + row + i, kCols, 1);
      std::copy(values.begin(), values.end(), out + i * kCols);
    }
  };
  if (!type) return part;
  part.stored = *type;
  part.native = NativeForm{};
  part.native->fill = FillFromRows(part.read, {}, part.place);
  return part;
}

// All bytes but the table of a matrix filled in bands of 48 rows.
std::vector<uint8_t> Filled(const MatrixLayout& layout, const FillTiles& fill) {
  std::vector<uint8_t> memory(layout.bytes + 64);
  uint8_t* tensor = memory.data();
  while (reinterpret_cast<uintptr_t>(tensor) % 64 != 0) ++tensor;
  constexpr uint64_t kBand = 48;
  for (uint64_t row = 0; row < layout.rows; row += kBand) {
    fill(layout, row, std::min(kBand, layout.rows - row),
         PlanesAt(layout, tensor, row / kTileRows));
  }
  return {tensor, tensor + layout.bytes};
}

}  // namespace

TEST_CASE("matrices of several: quantized parts stay as they are where whole tiles meet") {
  MatrixLayout layout;
  REQUIRE(ComputeLayout(DType::kInt8, BlockOffset::kNone, 90, 40, &layout));
  const std::vector<uint8_t> want = Filled(layout, Part(0, 90, DType::kInt8).native->fill);
  const auto join = [](std::vector<SourceWeight> parts) {
    return JoinRows(std::move(parts), "some");
  };
  const SourceWeight whole =
      join({Part(0, 32, DType::kInt8), Part(32, 48, DType::kInt8), Part(80, 10, DType::kInt8)});
  CHECK(whole.shape == std::vector<uint64_t>{90, 40});
  CHECK(whole.stored == DType::kInt8);
  REQUIRE(whole.native);
  CHECK(Filled(layout, whole.native->fill) == want);
  CHECK(whole.place == "some");
  // Rows cross the borders of parts, whatever the parts are.
  const SourceWeight odd = join({Part(0, 30, DType::kInt8), Part(30, 60, DType::kInt8)});
  const SourceWeight mixed = join({Part(0, 32, DType::kInt8), Part(32, 58, std::nullopt)});
  SourceWeight other = Part(32, 58, DType::kInt8);
  other.native->offset = BlockOffset::kZero;
  CHECK_FALSE(mixed.native);
  CHECK(mixed.stored == DType::kF32);
  CHECK(Filled(layout, FillFromRows(mixed.read, {}, "")) == want);
  for (const SourceWeight& weight : {odd, join({Part(0, 32, DType::kInt8), other})}) {
    CHECK(weight.stored == DType::kInt8);
    REQUIRE(weight.native);
    EncodeOptions encode;
    encode.search = false;
    CHECK(Filled(layout, weight.native->fill) ==
          Filled(layout, FillFromRows(weight.read, encode, "")));
  }
}

TEST_CASE("options that the graph does not have are refused by name") {
  const nlohmann::json good = nlohmann::json::parse(LlamaConfig({}));
  const auto error = [&](const char* patch) {
    nlohmann::json config = good;
    config.merge_patch(nlohmann::json::parse(patch));
    try {
      FindArchitecture(config, "test").plan(config, nullptr, "test");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  for (const char* fine :
       {"{}", R"({"rope_scaling": null, "hidden_act": "silu", "sliding_window": null})",
        R"({"rope_scaling": {"type": "linear", "factor": 2.0}})", R"({"rope_scaling": {"rope_type": "default"}, "partial_rotary_factor": 1})",
        R"({"rope_parameters": {"rope_type": "default", "rope_theta": 500000}})",
        R"({"layer_types": ["full_attention", "full_attention"], "head_dim": null})",
        R"({"eos_token_id": [2, 5], "bos_token_id": null})", R"({"eos_token_id": null})",
        R"({"num_key_value_heads": null, "num_attention_heads": 1, "head_dim": 2})"}) {
    CAPTURE(std::string(fine));
    CHECK(error(fine) == "");
  }
  struct Bad {
    const char *patch, *word;
  };
  for (const Bad& bad : {
           Bad{R"({"rope_scaling": {"type": "linear"}})", "'rope_scaling'"},
           Bad{R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", "'factor'"},
           Bad{R"({"rope_scaling": {"rope_type": "llama4"}})", "llama4"},
           Bad{R"({"rope_scaling": {"rope_type": "longrope", "short_factor": [1]}})",
               "'short_factor'"},
           Bad{R"({"rope_scaling": {"factor": 2.0}})", "'rope_scaling'"},
           Bad{R"({"rope_scaling": 2.0})", "'rope_scaling'"},
           Bad{R"({"rope_parameters": {"rope_type": "yarn"}})", "'rope_parameters'"},
           Bad{R"({"rope_theta": 0.5})", "'rope_theta'"},
           Bad{R"({"rope_theta": "many"})", "'rope_theta'"},
           Bad{R"({"hidden_act": "gelu"})", "'hidden_act'"},
           Bad{R"({"partial_rotary_factor": 0.5})", "'partial_rotary_factor'"},
           Bad{R"({"sliding_window": 4096})", "'sliding_window'"},
           Bad{R"({"layer_types": ["full_attention", "sliding_attention"]})", "'sliding_window'"},
           Bad{R"({"layer_types": ["full_attention", "chunked_attention"]})", "chunked_attention"},
           Bad{R"({"layer_types": ["full_attention"]})", "'layer_types'"},
           Bad{R"({"num_key_value_heads": 3})", "4 attention heads cannot share 3"},
           Bad{R"({"num_key_value_heads": 0})", "'num_key_value_heads'"},
           Bad{R"({"head_dim": 5})", "'head_dim'"},
           Bad{R"({"head_dim": 0})", "'head_dim'"},
           Bad{R"({"head_dim": null, "num_attention_heads": 6})", "multiple of 6 heads"},
           Bad{R"({"head_dim": null, "num_attention_heads": 64})", "'head_dim'"},
           Bad{R"({"hidden_size": 0})", "'hidden_size'"},
           Bad{R"({"hidden_size": null})", "'hidden_size'"},
           Bad{R"({"num_hidden_layers": 100000})", "'num_hidden_layers'"},
           Bad{R"({"vocab_size": -1})", "'vocab_size'"},
           Bad{R"({"attention_bias": 1})", "'attention_bias'"},
           Bad{R"({"bos_token_id": 96})", "'bos_token_id'"},
           Bad{R"({"eos_token_id": 96})", "'eos_token_id'"},
           Bad{R"({"eos_token_id": [2, 96]})", "'eos_token_id'"},
           Bad{R"({"eos_token_id": [-1]})", "'eos_token_id'"},
           Bad{R"({"model_type": "llamas"})", "'llamas'"},
       }) {
    CAPTURE(std::string(bad.patch));
    const std::string message = error(bad.patch);
    CAPTURE(message);
    CHECK(message.find(bad.word) != std::string::npos);
    CHECK(message.starts_with("test"));
  }
}

TEST_CASE("checkpoints whose tensors are not those of their config.json are refused by name") {
  const auto error = [](const LlamaShape& weights, const LlamaShape& config,
                        const std::string& more = "") {
    const std::string folder = LlamaFolder(weights);
    WriteFile(folder + "/config.json", LlamaConfig(config, more));
    return ConvertError(folder);
  };
  const LlamaShape good;
  CHECK(error(good, good) == "");
  LlamaShape other = good;
  other.n_kv_heads = 1;
  CHECK(error(good, other)
            .find("'model.layers.0.self_attn.k_proj.weight': expected shape (16, 64)") !=
        std::string::npos);
  other = good;
  other.n_layers = 3;
  CHECK(error(good, other).find("'model.layers.2.input_layernorm.weight' is missing") !=
        std::string::npos);
  CHECK(error(other, good).find("is not part of this architecture") != std::string::npos);
  other = good;
  other.bias = true;
  CHECK(error(good, other).find("'model.layers.0.self_attn.q_proj.bias' is missing") !=
        std::string::npos);
  CHECK(error(other, good).find("is not part of this architecture") != std::string::npos);
  // An untied head must be there; a tied one may be left out.
  other = good;
  other.tied = true;
  CHECK(error(other, good).find("'lm_head.weight' is missing") != std::string::npos);
  CHECK(error(other, other) == "");
  CHECK(error(good, good, ", \"rms_norm_eps\": 2.0").find("'eps'") != std::string::npos);
  // A number that cannot be stored: row 66 of all is in the keys, whose first number is put to nan.
  const std::string folder = LlamaFolder(good);
  std::string file = ReadFile(folder + "/model.safetensors");
  const auto checkpoint = Checkpoint::Open(folder);
  const SourceTensor* keys = checkpoint->Find("model.layers.1.self_attn.k_proj.weight");
  REQUIRE(keys);
  file.replace(keys->offset + 4 * (2 * 64 + 5), 4, Floats({std::nanf("")}));
  WriteFile(folder + "/model.safetensors", file);
  const std::string message = ConvertError(folder, DType::kInt8);
  CHECK(message.find("k_proj.weight' (rows 64 to 95)") != std::string::npos);
  CHECK(message.find(": row 66, column 5: nan cannot be stored as int8") != std::string::npos);
}
