// The judge (tests/plain_decoder.h) judged: against outputs of the published implementations
// (reference_dir/goldens, reference_dir/trained) and of llama.cpp (reference_dir/gguf).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "tests/plain_decoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "tests/model_samples.h"
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

namespace {

// A llama of a GGUF file with Hugging Face's names and order of rows: there, a head's rows 2i and
// 2i + 1 turn together, here i and i + half.
TensorMap LlamaOf(const Gguf& gguf, size_t head_dim) {
  const std::vector<std::pair<std::string, std::string>> parts = {
      {"attn_norm", "input_layernorm"},
      {"ffn_norm", "post_attention_layernorm"},
      {"attn_q.", "self_attn.q_proj."},
      {"attn_k.", "self_attn.k_proj."},
      {"attn_v.", "self_attn.v_proj."},
      {"attn_output", "self_attn.o_proj"},
      {"ffn_gate", "mlp.gate_proj"},
      {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
      {"blk.", "model.layers."},
      {"token_embd", "model.embed_tokens"},
      {"output_norm", "model.norm"},
      {"output.", "lm_head."}};
  TensorMap tensors;
  for (const GgufTensor& t : gguf.tensors()) {
    std::string name = t.name;
    for (const auto& [from, to] : parts) {
      const size_t at = name.find(from);
      if (at != std::string::npos && !name.starts_with("model")) name.replace(at, from.size(), to);
    }
    PlainTensor plain{{t.shape.begin(), t.shape.end()}, std::vector<float>(t.elements)};
    gguf.ReadF32(t, 0, t.elements, plain.values.data());
    const std::vector<float> file = plain.values;
    const size_t rows = t.shape[0], cols = t.elements / rows, half = head_dim / 2;
    const bool turned = name.find("q_proj") != name.npos || name.find("k_proj") != name.npos;
    for (size_t r = 0; turned && r < rows; ++r) {
      const size_t head = r / head_dim * head_dim, i = (r - head) / 2, second = (r - head) % 2;
      for (size_t c = 0; c < cols; ++c) {
        plain.values[(head + second * half + i) * cols + c] = file[r * cols + c];
      }
    }
    tensors[name] = std::move(plain);
  }
  return tensors;
}

}  // namespace

TEST_CASE("the plain decoder gives what llama.cpp gave from its file") {
  if (SkipWithoutReference("plain_decoder of GGUF")) return;
  const std::string folder = ReferenceDir() + "/gguf/";
  const nlohmann::json config = {{"model_type", "llama"},          {"hidden_size", 256},
                                 {"num_hidden_layers", 2},         {"num_attention_heads", 8},
                                 {"num_key_value_heads", 4},       {"rms_norm_eps", 1e-5},
                                 {"max_position_embeddings", 512}, {"rope_theta", 10000.0}};
  std::vector<int32_t> ids;
  std::istringstream text(ReadFile(folder + "ids.txt"));
  for (std::string id; std::getline(text, id, ',');) ids.push_back(std::stoi(id));
  const NpyArray logits = ReadNpy(folder + "F16.logits.npy");
  const TensorMap tensors = LlamaOf(*Gguf::Open(folder + "F16.gguf"), 32);
  const std::vector<double> plain = PlainLogits(config, tensors, ids);
  REQUIRE(plain.size() == logits.floats.size());
  double difference = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    difference = std::max(difference, std::fabs(plain[i] - logits.floats[i]));
  }
  CAPTURE(difference);
  CHECK(difference < 2e-3);
}

TEST_CASE("the samples' llamas in GGUF have llama.cpp's order of rows") {
  const std::string path = TempDir() + "/llama.gguf";
  for (const char* name : {"llama", "llama-bias", "llama-tails"}) {
    CAPTURE(name);
    const SampleModel sample = SampleOf(name);
    WriteGguf(sample, path, "F32");
    const size_t head_dim = sample.config.value("head_dim", 16);
    const TensorMap tensors = LlamaOf(*Gguf::Open(path), head_dim);
    REQUIRE(tensors.size() == sample.tensors.size());
    for (const auto& [tensor, plain] : sample.tensors) {
      CAPTURE(tensor);
      CHECK(tensors.at(tensor).shape == plain.shape);
      CHECK(tensors.at(tensor).values == plain.values);
    }
  }
}
