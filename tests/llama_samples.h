#pragma once
#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/import_files.h"
#include "tests/test_util.h"

// Small LLaMA checkpoints with made-up weights, the same on every machine.
namespace glint::test {

struct LlamaShape {
  size_t dim = 64, hidden_dim = 172, n_layers = 2, n_heads = 4, n_kv_heads = 2, head_dim = 16;
  size_t vocab_size = 96, max_seq_len = 512;
  bool bias = false, tied = false;
};

// config.json. `more` are further members: ", \"key\": value".
inline std::string LlamaConfig(const LlamaShape& s, const std::string& more = "") {
  const auto member = [](const char* key, const std::string& value) {
    return ",\n \"" + std::string(key) + "\": " + value;
  };
  const std::string bias = s.bias ? "true" : "false";
  return "{\"model_type\": \"llama\"" + member("hidden_size", std::to_string(s.dim)) +
         member("intermediate_size", std::to_string(s.hidden_dim)) +
         member("num_hidden_layers", std::to_string(s.n_layers)) +
         member("num_attention_heads", std::to_string(s.n_heads)) +
         member("num_key_value_heads", std::to_string(s.n_kv_heads)) +
         member("head_dim", std::to_string(s.head_dim)) +
         member("vocab_size", std::to_string(s.vocab_size)) +
         member("max_position_embeddings", std::to_string(s.max_seq_len)) +
         member("attention_bias", bias) + member("mlp_bias", bias) +
         member("tie_word_embeddings", s.tied ? "true" : "false") + member("bos_token_id", "1") +
         member("eos_token_id", "2") + more + "}\n";
}

// Numbers in steps of 2^-16 within +-`range`, by the splitmix64 generator.
inline std::vector<float> SomeFloats(uint64_t seed, size_t n, float range, float middle = 0) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    uint64_t z = seed * 0x9E3779B97F4A7C15u + (i + 1) * 0xD1B54A32D192ED03u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    const auto step = static_cast<int32_t>((z ^ (z >> 31)) & 0xFFFF) - 0x8000;
    values[i] = middle + range * static_cast<float>(step) * 0x1p-15f;
  }
  return values;
}

// Calls fn(name, rows, cols) for every tensor of such a checkpoint; cols is 0 for vectors.
inline void ForLlamaTensors(const LlamaShape& s,
                            const std::function<void(const std::string&, size_t, size_t)>& fn) {
  const auto linear = [&](const std::string& name, size_t rows, size_t cols) {
    fn(name + ".weight", rows, cols);
    if (s.bias) fn(name + ".bias", rows, 0);
  };
  fn("model.embed_tokens.weight", s.vocab_size, s.dim);
  for (size_t i = 0; i < s.n_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    linear(layer + "self_attn.q_proj", s.n_heads * s.head_dim, s.dim);
    linear(layer + "self_attn.k_proj", s.n_kv_heads * s.head_dim, s.dim);
    linear(layer + "self_attn.v_proj", s.n_kv_heads * s.head_dim, s.dim);
    linear(layer + "self_attn.o_proj", s.dim, s.n_heads * s.head_dim);
    linear(layer + "mlp.gate_proj", s.hidden_dim, s.dim);
    linear(layer + "mlp.up_proj", s.hidden_dim, s.dim);
    linear(layer + "mlp.down_proj", s.dim, s.hidden_dim);
    fn(layer + "input_layernorm.weight", s.dim, 0);
    fn(layer + "post_attention_layernorm.weight", s.dim, 0);
    fn(layer + "self_attn.rotary_emb.inv_freq", s.head_dim / 2, 0);  // old files have it
  }
  fn("model.norm.weight", s.dim, 0);
  if (!s.tied) fn("lm_head.weight", s.vocab_size, s.dim);
}

// A folder with config.json and f32 weights of such a model.
inline std::string LlamaFolder(const LlamaShape& s, const std::string& more_config = "") {
  std::string header, data;
  uint64_t seed = 0;
  ForLlamaTensors(s, [&](const std::string& name, size_t rows, size_t cols) {
    // Norms about 1, the rest about as large as in trained models.
    const bool norm = name.find("norm.weight") != std::string::npos;
    const std::vector<float> values =
        SomeFloats(++seed, rows * std::max<size_t>(cols, 1), norm ? 0.25f : 0.3f, norm ? 1.0f : 0);
    const std::string shape = std::to_string(rows) + (cols == 0 ? "" : "," + std::to_string(cols));
    header += (header.empty() ? "{" : ",") +
              Entry(name, "F32", "[" + shape + "]", data.size(), data.size() + 4 * values.size());
    data += Floats(values);
  });
  const std::string folder = TempDir() + "/llama";
  std::filesystem::create_directory(folder);
  WriteFile(folder + "/config.json", LlamaConfig(s, more_config));
  WriteFile(folder + "/model.safetensors", Safetensors(header + "}", data));
  return folder;
}

}  // namespace glint::test
