#include "tests/model_samples.h"

#include <filesystem>
#include <functional>
#include <stdexcept>

#include "quant/f16.h"
#include "tests/import_files.h"
#include "tests/plain_config.h"
#include "tests/plain_rope.h"
#include "tests/test_util.h"

namespace glint::test {
namespace {

using nlohmann::json;

// What the configs of a family have beyond the common members (nulls: not these).
struct SampleFamily {
  const char* model_type;
  const char* class_name;
  const char* members;  // JSON
};

constexpr const char* kCommon = R"({
  "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 256,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false,
  "hidden_act": "silu", "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2})";

constexpr SampleFamily kFamilies[] = {
    {"llama", "LlamaForCausalLM", R"({"attention_bias": false, "mlp_bias": false})"},
    {"mistral", "MistralForCausalLM", R"({"sliding_window": 7, "head_dim": 24})"},
    {"qwen2", "Qwen2ForCausalLM", R"({"use_sliding_window": false, "sliding_window": 7,
      "max_window_layers": 2, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06})"},
    {"qwen3", "Qwen3ForCausalLM", R"({"head_dim": 24, "attention_bias": false,
      "use_sliding_window": false, "sliding_window": null, "max_window_layers": 2,
      "rope_theta": 1000000.0, "rms_norm_eps": 1e-06})"},
    {"phi3", "Phi3ForCausalLM", R"({"hidden_size": 96, "num_key_value_heads": 4,
      "sliding_window": 7, "original_max_position_embeddings": 256, "rope_scaling": null})"},
    {"gemma2", "Gemma2ForCausalLM", R"({"hidden_size": 96, "head_dim": 20, "num_hidden_layers": 3,
      "query_pre_attn_scalar": 31, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 12.0,
      "sliding_window": 7, "attention_bias": false, "hidden_act": "gelu_pytorch_tanh",
      "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-06,
      "tie_word_embeddings": true})"},
    {"mixtral", "MixtralForCausalLM", R"({"intermediate_size": 100, "num_local_experts": 5,
      "num_experts_per_tok": 2, "sliding_window": null, "rope_theta": 1000000.0})"},
    {"qwen2_moe", "Qwen2MoeForCausalLM", R"({"num_experts": 6, "num_experts_per_tok": 2,
      "moe_intermediate_size": 44, "shared_expert_intermediate_size": 84, "norm_topk_prob": false,
      "decoder_sparse_step": 1, "mlp_only_layers": [], "use_sliding_window": false,
      "sliding_window": 7, "max_window_layers": 2, "rope_theta": 1000000.0,
      "rms_norm_eps": 1e-06})"},
    {"chatglm", "ChatGLMModel", R"({"intermediate_size": null, "num_hidden_layers": null,
      "num_key_value_heads": null, "vocab_size": null, "max_position_embeddings": null,
      "rms_norm_eps": null, "rope_theta": null, "hidden_act": null,
      "ffn_hidden_size": 172, "num_layers": 2, "multi_query_attention": true,
      "multi_query_group_num": 2, "kv_channels": 16, "padded_vocab_size": 300, "seq_length": 256,
      "layernorm_epsilon": 1e-05, "rmsnorm": true, "post_layer_norm": true, "add_qkv_bias": true,
      "add_bias_linear": false, "apply_residual_connection_post_layernorm": false,
      "apply_query_key_layer_scaling": true, "attention_softmax_in_fp32": true,
      "fp32_residual_connection": false, "original_rope": true})"},
    {"glm", "GlmForCausalLM", R"({"head_dim": 16, "attention_bias": true,
      "partial_rotary_factor": 0.5})"},
    {"granite", "GraniteForCausalLM", R"({"embedding_multiplier": 3.0, "residual_multiplier": 0.6,
      "attention_multiplier": 0.2, "logits_scaling": 1.5, "attention_bias": false,
      "mlp_bias": false, "rope_scaling": null})"},
    {"glm4", "Glm4ForCausalLM", R"({"head_dim": 24, "attention_bias": true,
      "partial_rotary_factor": 0.5})"},
};

// A sample: a family's config with `change` merged into it (RFC 7396).
struct Variant {
  const char* name;
  const char* family;
  bool gguf;
  const char* change;
};

constexpr Variant kVariants[] = {
    {"llama", "llama", true, R"({"num_key_value_heads": 4})"},
    {"llama-gqa-tied", "llama", true, R"({"tie_word_embeddings": true})"},
    {"llama-bias", "llama", true, R"({"attention_bias": true, "mlp_bias": true})"},
    // Nothing is a multiple of 32, and head_dim is not hidden_size / heads.
    {"llama-tails", "llama", true, R"({"hidden_size": 72, "head_dim": 22, "intermediate_size": 100,
      "num_key_value_heads": 1})"},
    {"llama-linear", "llama", true, R"({"rope_scaling": {"type": "linear", "factor": 2.5}})"},
    {"llama-dynamic", "llama", false, R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
      "max_position_embeddings": 64})"},
    {"llama-llama3", "llama", true, R"({"rope_theta": 500000.0, "head_dim": 24,
      "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 64}})"},
    {"llama-yarn", "llama", true, R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 64}})"},
    // As transformers 5 writes config.json.
    {"llama-v5", "llama", false, R"({"rope_theta": null, "rope_parameters": {"rope_theta": 500000.0,
      "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 64}, "torch_dtype": null, "dtype": "float32"})"},
    {"mistral", "mistral", true, "{}"},
    {"mistral-full", "mistral", true, R"({"sliding_window": null})"},
    {"qwen2", "qwen2", true, "{}"},
    {"qwen2-tied", "qwen2", true, R"({"tie_word_embeddings": true})"},
    {"qwen2-window", "qwen2", false, R"({"use_sliding_window": true, "num_hidden_layers": 3,
      "max_window_layers": 1})"},
    {"qwen2-yarn", "qwen2", true, R"({"rope_scaling": {"type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 64}})"},
    {"qwen3", "qwen3", true, "{}"},
    {"qwen3-tied", "qwen3", true, R"({"tie_word_embeddings": true})"},
    {"phi3", "phi3", true, "{}"},
    {"phi3-longrope", "phi3", true, R"({"original_max_position_embeddings": 64,
      "sliding_window": null, "rope_scaling": {"type": "longrope",
      "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0],
      "long_factor": [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0]}})"},
    // As Phi-4-mini is.
    {"phi3-partial", "phi3", true, R"({"original_max_position_embeddings": 64,
      "sliding_window": null, "partial_rotary_factor": 0.75, "num_key_value_heads": 2,
      "tie_word_embeddings": true, "rope_scaling": {"type": "longrope",
      "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8],
      "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0]}})"},
    {"gemma2", "gemma2", true, "{}"},
    {"mixtral", "mixtral", true, "{}"},
    {"mixtral-window", "mixtral", true, R"({"sliding_window": 7})"},
    {"qwen2_moe", "qwen2_moe", true, "{}"},
    // Layers: dense (not every 2nd), sparse, dense, dense (named).
    {"qwen2_moe-mixed", "qwen2_moe", false, R"({"num_hidden_layers": 4, "decoder_sparse_step": 2,
      "mlp_only_layers": [3], "norm_topk_prob": true, "num_experts_per_tok": 3})"},
    {"chatglm", "chatglm", true, "{}"},
    {"chatglm-rope-ratio", "chatglm", true, R"({"rope_ratio": 500, "add_qkv_bias": true,
      "layernorm_epsilon": 1.5625e-07})"},
    {"chatglm-no-bias", "chatglm", true, R"({"add_qkv_bias": false, "num_attention_heads": 6,
      "hidden_size": 96})"},
    {"glm", "glm", true, "{}"},
    {"glm4", "glm4", true, "{}"},
    {"glm4-v5", "glm4", false, R"({"rope_theta": null, "partial_rotary_factor": null,
      "rope_parameters": {"rope_theta": 50000.0, "rope_type": "default",
      "partial_rotary_factor": 0.5}, "torch_dtype": null, "dtype": "float32"})"},
    {"granite", "granite", true, "{}"},
    {"glm4-no-bias", "glm4", true, R"({"attention_bias": false})"},
};

// --- weights ---

// Chosen so that no sample's two best logits are close by chance.
constexpr const char* kSalt = "/26/";

uint64_t Hash(const std::string& text) {  // FNV-1a
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return hash;
}

// n numbers middle + range * k / 128, |k| <= 127, by the splitmix64 generator.
std::vector<float> Numbers(uint64_t seed, size_t n, float range, float middle) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    const int k = static_cast<int>((z ^ (z >> 31)) % 255) - 127;
    values[i] = middle + range * static_cast<float>(k) * 0x1p-7f;
  }
  return values;
}

class SampleMaker {
 public:
  explicit SampleMaker(SampleModel* sample)
      : sample_(sample),
        config_(sample->config),
        type_(ModelType(config_)),
        dim_(config_.at("hidden_size")),
        q_size_(config_.at("num_attention_heads").get<size_t>() * PlainHeadDim(config_)),
        kv_size_(config_.at(type_ == "chatglm" ? "multi_query_group_num" : "num_key_value_heads")
                     .get<size_t>() *
                 PlainHeadDim(config_)) {}

  void Make() {
    const bool chatglm = type_ == "chatglm";
    const size_t vocab = config_.at(chatglm ? "padded_vocab_size" : "vocab_size");
    Matrix(chatglm ? "transformer.embedding.word_embeddings" : "model.embed_tokens", vocab, dim_,
           0.5f);
    const size_t n_layers = config_.at(chatglm ? "num_layers" : "num_hidden_layers");
    for (size_t i = 0; i < n_layers; ++i) {
      if (chatglm)
        ChatGlmLayer("transformer.encoder.layers." + std::to_string(i) + ".");
      else
        Layer("model.layers." + std::to_string(i) + ".", i);
    }
    Norm(chatglm ? "transformer.encoder.final_layernorm" : "model.norm", dim_);
    if (!config_.at("tie_word_embeddings").get<bool>())
      Matrix(chatglm ? "transformer.output_layer" : "lm_head", vocab, dim_, 0.5f);
  }

 private:
  void Add(const std::string& name, std::vector<size_t> shape, float range, float middle = 0) {
    size_t n = 1;
    for (const size_t d : shape) n *= d;
    sample_->tensors[name] = {std::move(shape),
                              Numbers(Hash(sample_->name + kSalt + name), n, range, middle)};
  }
  void Matrix(const std::string& name, size_t rows, size_t cols, float range = 0.25f) {
    Add(name + ".weight", {rows, cols}, range);
  }
  void Linear(const std::string& name, size_t rows, size_t cols, bool bias = false) {
    Matrix(name, rows, cols);
    if (bias) Add(name + ".bias", {rows}, 1);
  }
  // 1/2 to 3/2, in 64ths, so that it is exact in bf16 on both sides of 1. Gemma's are stored less
  // 1, and those of what joins the residual stream are large: its embedding, which is also its
  // head, would else decide alone.
  void Norm(const std::string& name, size_t size) {
    const std::string weight = name + ".weight";
    Add(weight, {size}, 1, 0);
    const bool gemma = type_ == "gemma2", joins = gemma && name.find(".post_") != std::string::npos;
    for (float& v : sample_->tensors[weight].values) {
      v = static_cast<float>(static_cast<int>(v * 32)) / 64;
      v += joins ? 7.0f : gemma ? 0.0f : 1.0f;
      if (joins) v = static_cast<float>(static_cast<int>(v * 32)) / 32;  // bf16's steps beyond 4
    }
  }

  void Layer(const std::string& at, size_t layer) {
    Norm(at + "input_layernorm", dim_);
    Norm(at + "post_attention_layernorm", dim_);
    if (type_ == "gemma2") {
      Norm(at + "pre_feedforward_layernorm", dim_);
      Norm(at + "post_feedforward_layernorm", dim_);
    }
    if (type_ == "glm4") {
      Norm(at + "post_self_attn_layernorm", dim_);
      Norm(at + "post_mlp_layernorm", dim_);
    }
    Attention(at + "self_attn.");
    if (type_ == "mixtral") return Mixtral(at + "block_sparse_moe.");
    if (type_ == "qwen2_moe" && IsSparse(layer)) return QwenMoe(at + "mlp.");
    const size_t inner = config_.at("intermediate_size");
    if (type_ == "phi3" || type_ == "glm" || type_ == "glm4") {
      Linear(at + "mlp.gate_up_proj", 2 * inner, dim_);
      return Linear(at + "mlp.down_proj", dim_, inner);
    }
    Mlp(at + "mlp", inner);
  }

  void Attention(const std::string& at) {
    const bool set = Setting(config_, "attention_bias", false);
    const bool qkv = set || type_.starts_with("qwen2");
    if (type_ == "phi3") {
      Linear(at + "qkv_proj", q_size_ + 2 * kv_size_, dim_);
    } else {
      Linear(at + "q_proj", q_size_, dim_, qkv);
      Linear(at + "k_proj", kv_size_, dim_, qkv);
      Linear(at + "v_proj", kv_size_, dim_, qkv);
    }
    Linear(at + "o_proj", dim_, q_size_, set && !type_.starts_with("glm"));
    if (type_ == "qwen3") {
      Norm(at + "q_norm", PlainHeadDim(config_));
      Norm(at + "k_norm", PlainHeadDim(config_));
    }
  }

  void Mlp(const std::string& at, size_t inner) {
    const bool bias = Setting(config_, "mlp_bias", false);
    Linear(at + ".gate_proj", inner, dim_, bias);
    Linear(at + ".up_proj", inner, dim_, bias);
    Linear(at + ".down_proj", dim_, inner, bias);
  }

  // A router; expert 1's row is larger, so that it is chosen by many tokens.
  void Router(const std::string& name, size_t experts) {
    Matrix(name, experts, dim_, 0.25f);
    std::vector<float>& w = sample_->tensors[name + ".weight"].values;
    for (size_t i = dim_; i < 2 * dim_; ++i) w[i] *= 2;
  }

  void Mixtral(const std::string& at) {
    const size_t experts = config_.at("num_local_experts"), inner = config_.at("intermediate_size");
    Router(at + "gate", experts);
    for (size_t e = 0; e < experts; ++e) {
      const std::string expert = at + "experts." + std::to_string(e) + ".";
      Linear(expert + "w1", inner, dim_);
      Linear(expert + "w2", dim_, inner);
      Linear(expert + "w3", inner, dim_);
    }
  }

  bool IsSparse(size_t layer) const {
    for (const json& dense : config_.at("mlp_only_layers")) {
      if (dense == layer) return false;
    }
    return (layer + 1) % config_.at("decoder_sparse_step").get<size_t>() == 0;
  }

  void QwenMoe(const std::string& at) {
    const size_t experts = config_.at("num_experts");
    Router(at + "gate", experts);
    for (size_t e = 0; e < experts; ++e) {
      Mlp(at + "experts." + std::to_string(e), config_.at("moe_intermediate_size"));
    }
    Mlp(at + "shared_expert", config_.at("shared_expert_intermediate_size"));
    Matrix(at + "shared_expert_gate", 1, dim_);
  }

  void ChatGlmLayer(const std::string& at) {
    Norm(at + "input_layernorm", dim_);
    Norm(at + "post_attention_layernorm", dim_);
    const size_t inner = config_.at("ffn_hidden_size");
    Linear(at + "self_attention.query_key_value", q_size_ + 2 * kv_size_, dim_,
           config_.at("add_qkv_bias"));
    Linear(at + "self_attention.dense", dim_, q_size_);
    Linear(at + "mlp.dense_h_to_4h", 2 * inner, dim_);
    Linear(at + "mlp.dense_4h_to_h", dim_, inner);
  }

  SampleModel* sample_;
  const json& config_;
  const std::string type_;
  const size_t dim_, q_size_, kv_size_;
};

json FamilyConfig(const std::string& name) {
  for (const SampleFamily& family : kFamilies) {
    if (name != family.model_type) continue;
    json config = json::parse(kCommon);
    const json members = json::parse(family.members);
    config.merge_patch(members);
    config["model_type"] = family.model_type;
    config["architectures"] = json::array({family.class_name});
    return config;
  }
  throw std::runtime_error("model_samples: no family " + name);
}

}  // namespace

std::vector<std::string> SampleNames() {
  std::vector<std::string> names;
  for (const Variant& v : kVariants) names.push_back(v.name);
  return names;
}

std::vector<std::string> GgufSampleNames() {
  std::vector<std::string> names;
  for (const Variant& v : kVariants) {
    if (v.gguf) names.push_back(v.name);
  }
  return names;
}

SampleModel SampleOf(const std::string& name, const json& change) {
  for (const Variant& v : kVariants) {
    if (name != v.name) continue;
    SampleModel sample{.name = name, .config = FamilyConfig(v.family), .tensors{}, .gguf = v.gguf};
    sample.config.merge_patch(json::parse(v.change));
    sample.config.merge_patch(change);
    SampleMaker(&sample).Make();
    return sample;
  }
  throw std::runtime_error("model_samples: no sample " + name);
}

std::vector<int32_t> SampleIds(const SampleModel& sample, size_t n) {
  const size_t vocab = sample.config.contains("vocab_size") ? sample.config["vocab_size"]
                                                            : sample.config["padded_vocab_size"];
  std::vector<int32_t> ids;
  for (const float v : Numbers(Hash("ids"), n, 128, 127)) {
    ids.push_back(static_cast<int32_t>((static_cast<size_t>(v) * 37 + ids.size() * 11) % vocab));
  }
  return ids;
}

std::string WriteFolder(const SampleModel& sample, const std::string& type) {
  std::string header, data;
  for (const auto& [name, tensor] : sample.tensors) {
    std::string bytes;
    for (const float v : tensor.values) {
      const uint32_t bits = std::bit_cast<uint32_t>(v);
      bytes += type == "F32" ? U32(bits) : U16(type == "F16" ? F32ToF16(v) : bits >> 16);
    }
    header += (header.empty() ? "{" : ",") +
              Entry(name, type, json(tensor.shape).dump(), data.size(), data.size() + bytes.size());
    data += bytes;
  }
  const std::string folder = TempDir() + "/" + sample.name;
  std::filesystem::create_directory(folder);
  WriteFile(folder + "/config.json", sample.config.dump(2) + "\n");
  WriteFile(folder + "/model.safetensors", Safetensors(header + "}", data));
  return folder;
}

}  // namespace glint::test
