// THUDM's own int8 and int4 checkpoints (quantization.py): made here from the tiny model, converted, and
// compared weight by weight. Also the two revisions of the vocabulary.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "formats/architectures/architecture.h"
#include "formats/convert/convert.h"
#include "formats/import/checkpoint.h"
#include "lib/session.h"
#include "quant/f16.h"
#include "tests/import_files.h"
#include "tests/test_util.h"

using namespace glint;
using namespace glint::test;

namespace {

// A weight as THUDM stores it, and what it stands for.
struct Quantized {
  std::string bytes, scales;
  std::vector<float> values;  // code * scale
};

Quantized QuantizeRows(const std::vector<float>& weights, size_t cols, int bits) {
  Quantized out;
  const int top = bits == 4 ? 7 : 127;
  for (size_t row = 0; row < weights.size() / cols; ++row) {
    const float* w = weights.data() + row * cols;
    float largest = 0;
    for (size_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(w[c]));
    const uint16_t half = F32ToF16(largest / static_cast<float>(top));
    const float scale = F16ToF32(half);
    out.scales += Bytes(half);
    std::vector<int> codes(cols);
    for (size_t c = 0; c < cols; ++c) {
      const float code = std::nearbyint(w[c] / scale);
      codes[c] = static_cast<int>(std::min(std::max(code, -static_cast<float>(top)), static_cast<float>(top)));
      out.values.push_back(static_cast<float>(codes[c]) * scale);
    }
    for (size_t c = 0; c < cols; c += bits == 4 ? 2 : 1) {
      const int byte = bits == 4 ? (codes[c] & 15) << 4 | (codes[c + 1] & 15) : codes[c] & 255;
      out.bytes += static_cast<char>(byte);
    }
  }
  return out;
}

bool IsQuantized(const std::string& name) {
  for (const char* part : {"query_key_value.weight", "attention.dense.weight",
                           "dense_h_to_4h.weight", "dense_4h_to_h.weight"}) {
    if (name.ends_with(part)) return true;
  }
  return false;
}

std::string ShapeText(uint64_t rows, uint64_t cols) {
  return "[" + std::to_string(rows) + "," + std::to_string(cols) + "]";
}

// The tiny model as THUDM would have published it with `bits`. Returns the folder; fills `expected`.
std::string MakeFolder(int bits, std::map<std::string, std::vector<float>>* expected) {
  const std::string source = SourceDir() + "/examples/tiny/model", folder = TempDir();
  for (const char* name : {"config.json", "ice_text.model", "tokenizer_config.json"}) {
    std::filesystem::copy_file(source + "/" + name, folder + "/" + name);
  }
  const auto checkpoint = Checkpoint::Open(source);
  std::string header, data;
  const auto add = [&](const std::string& name, const std::string& type, const std::string& shape,
                       const std::string& bytes) {
    header += (header.empty() ? "{" : ",") +
              Entry(name, type, shape, data.size(), data.size() + bytes.size());
    data += bytes;
  };
  for (const SourceTensor& tensor : checkpoint->tensors()) {
    if (IsQuantized(tensor.name)) {
      const uint64_t rows = tensor.shape[0], cols = tensor.shape[1];
      std::vector<float> weights(tensor.elements);
      checkpoint->ReadF32(tensor, 0, tensor.elements, weights.data());
      Quantized quantized = QuantizeRows(weights, cols, bits);
      add(tensor.name, "I8", ShapeText(rows, bits == 4 ? cols / 2 : cols), quantized.bytes);
      add(tensor.name + "_scale", "F16", "[" + std::to_string(rows) + "]", quantized.scales);
      (*expected)[tensor.name] = std::move(quantized.values);
      continue;
    }
    std::string bytes(tensor.elements * ElementBytes(tensor.type), '\0');
    checkpoint->ReadRaw(tensor, 0, tensor.elements, bytes.data());
    add(tensor.name, Name(tensor.type),
        tensor.shape.size() == 2 ? ShapeText(tensor.shape[0], tensor.shape[1])
                                 : "[" + std::to_string(tensor.shape[0]) + "]",
        bytes);
  }
  WriteFile(folder + "/model.safetensors", Safetensors(header + "}", data));
  return folder;
}

// Our name of the matrix that the checkpoint calls `source`.
std::string OurName(const std::string& source) {
  static const std::map<std::string, std::string> kNames = {
      {"attention.query_key_value.weight", "qkv.weight"},
      {"attention.dense.weight", "attn_out.weight"},
      {"mlp.dense_h_to_4h.weight", "ffn_up.weight"},
      {"mlp.dense_4h_to_h.weight", "ffn_down.weight"}};
  const std::string rest = source.substr(std::strlen("transformer.layers."));
  const size_t dot = rest.find('.');
  return "layer." + rest.substr(0, dot + 1) + kNames.at(rest.substr(dot + 1));
}

}  // namespace

TEST_CASE("int4 and int8 checkpoints of THUDM convert without a second rounding") {
  for (const int bits : {4, 8}) {
    CAPTURE(bits);
    std::map<std::string, std::vector<float>> expected;
    ConvertOptions options;
    options.source = MakeFolder(bits, &expected);
    options.write.output = TempDir() + "/thudm.glint";
    Convert(options);
    const auto model = Model::Open(options.write.output);
    REQUIRE(expected.size() == 24);
    for (const auto& [source, values] : expected) {
      CAPTURE(source);
      const Tensor* tensor = model->file().Find(OurName(source));
      REQUIRE(tensor);
      CHECK(tensor->dtype == (bits == 4 ? DType::kInt4 : DType::kInt8));
      std::vector<float> decoded(values.size());
      const MatrixView view = ViewOf(*tensor);
      for (uint64_t row = 0; row < view.layout.rows; ++row) {
        DecodeRow(view, row, decoded.data() + row * view.layout.cols);
      }
      CHECK(std::memcmp(decoded.data(), values.data(), values.size() * sizeof(float)) == 0);
    }
    CHECK(model->file().Find("embedding")->dtype == DType::kInt8);
    // The same numbers where the model is stored in f32.
    options.has_type = true;
    options.type = DType::kF32;
    options.write.output = TempDir() + "/f32.glint";
    Convert(options);
    const auto floats = Model::Open(options.write.output);
    for (const auto& [source, values] : expected) {
      const MatrixView view = ViewOf(*floats->file().Find(OurName(source)));
      std::vector<float> decoded(values.size());
      for (uint64_t row = 0; row < view.layout.rows; ++row) {
        DecodeRow(view, row, decoded.data() + row * view.layout.cols);
      }
      CHECK(std::memcmp(decoded.data(), values.data(), values.size() * sizeof(float)) == 0);
    }
    Session session(*model, {});
    CHECK(session.Start(model->tokenizer()->EncodeWithSpecial("hello")) == Status::kOk);
  }
}

TEST_CASE("both revisions of the vocabulary") {
  nlohmann::json config = PublishedConfig("chatglm-6b");
  const Architecture& architecture = FindArchitecture(config, "test");
  const ImportPlan now = architecture.plan(config, {{"num_image_tokens", 0}}, "test");
  CHECK(now.prompt["gmask_id"] == 130001);
  CHECK(now.prompt["stop_ids"] == nlohmann::json::array({130005}));
  CHECK(now.tokenizer_rules.id_offset == 0);
  CHECK(now.tensors.back().shape == std::vector<uint64_t>{130528, 4096});
  // The first revision's config.json leaves the masks to the published class's defaults.
  config["vocab_size"] = 150528;
  for (const char* key : {"mask_token_id", "gmask_token_id", "bos_token_id", "eos_token_id",
                          "pad_token_id"}) {
    config.erase(key);
  }
  const ImportPlan old = architecture.plan(config, nullptr, "test");
  CHECK(old.prompt["mask_id"] == 150000);
  CHECK(old.prompt["gmask_id"] == 150001);
  CHECK(old.prompt["sop_id"] == 150004);
  CHECK(old.prompt["stop_ids"] == nlohmann::json::array({150005}));
  CHECK(old.tokenizer_rules.id_offset == 20000);
  config["vocab_size"] = 100;
  CHECK_THROWS_WITH(architecture.plan(config, nullptr, "test"), doctest::Contains("150000"));
}
