#include "tests/plain_decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <stdexcept>

#include "tests/plain_config.h"
#include "tests/plain_rope.h"

namespace glint::test {
namespace {

using nlohmann::json;
using Row = std::vector<double>;
using Rows = std::vector<Row>;  // of tokens

// What a checkpoint calls its parts, and where it has norms. Those that are null do not exist.
struct Family {
  const char* model_type;
  bool fused_qkv = false, fused_gate_up = false;
  bool qk_norm = false;                   // of each head, before the rope
  bool norm_plus_one = false;             // a norm's weight is stored less 1
  const char* after_attention = nullptr;  // norm of what attention gives
  const char* before_mlp = "post_attention_layernorm";
  const char* after_mlp = nullptr;  // norm of what the mlp gives
};

const Family& FamilyOf(const json& config) {
  static const Family kFamilies[] = {
      {.model_type = "llama"},
      {.model_type = "granite"},
      {.model_type = "mistral"},
      {.model_type = "mixtral"},
      {.model_type = "qwen2"},
      {.model_type = "qwen2_moe"},
      {.model_type = "qwen3", .qk_norm = true},
      {.model_type = "phi3", .fused_qkv = true, .fused_gate_up = true},
      {.model_type = "gemma2",
       .norm_plus_one = true,
       .after_attention = "post_attention_layernorm",
       .before_mlp = "pre_feedforward_layernorm",
       .after_mlp = "post_feedforward_layernorm"},
      {.model_type = "glm", .fused_gate_up = true},
      {.model_type = "glm4",
       .fused_gate_up = true,
       .after_attention = "post_self_attn_layernorm",
       .after_mlp = "post_mlp_layernorm"},
      {.model_type = "chatglm", .fused_qkv = true, .fused_gate_up = true},
  };
  const std::string type = ModelType(config);
  for (const Family& family : kFamilies) {
    if (type == family.model_type) return family;
  }
  throw std::runtime_error("plain_decoder: no model_type '" + type + "'");
}

struct Names {
  std::string embedding = "model.embed_tokens", layers = "model.layers.", norm = "model.norm",
              head = "lm_head";
  std::string qkv = "self_attn.qkv_proj", out = "self_attn.o_proj";
  std::string gate_up = "mlp.gate_up_proj", down = "mlp.down_proj";
};

Names NamesOf(const json& config) {
  if (ModelType(config) != "chatglm") return {};
  return {.embedding = "transformer.embedding.word_embeddings",
          .layers = "transformer.encoder.layers.",
          .norm = "transformer.encoder.final_layernorm",
          .head = "transformer.output_layer",
          .qkv = "self_attention.query_key_value",
          .out = "self_attention.dense",
          .gate_up = "mlp.dense_h_to_4h",
          .down = "mlp.dense_4h_to_h"};
}

double Silu(double x) {
  return x / (1 + std::exp(-x));
}

double GeluTanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

double Softcap(double x, double cap) {
  return cap == 0 ? x : cap * std::tanh(x / cap);
}

void Softmax(Row& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - largest);
  for (double& v : x) v /= sum;
}

void Add(Row& to, const Row& x, double factor = 1) {
  if (to.size() != x.size()) throw std::runtime_error("plain_decoder: sizes differ");
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * x[i];
}

Row Part(const Row& x, size_t begin, size_t size) {
  return {x.begin() + static_cast<ptrdiff_t>(begin),
          x.begin() + static_cast<ptrdiff_t>(begin + size)};
}

class Decoder {
 public:
  Decoder(const json& config, const TensorMap& tensors, size_t context, const PlainPrefix* prefix)
      : config_(config),
        tensors_(tensors),
        family_(FamilyOf(config)),
        names_(NamesOf(config)),
        type_(ModelType(config)),
        rope_(PlainRopeOf(config, context)),
        prefix_(prefix) {
    CheckSettings();
    const bool chatglm = type_ == "chatglm";
    n_layers_ = config.at(chatglm ? "num_layers" : "num_hidden_layers");
    n_heads_ = config.at("num_attention_heads");
    n_kv_heads_ =
        Setting(config, chatglm ? "multi_query_group_num" : "num_key_value_heads", n_heads_);
    head_dim_ = PlainHeadDim(config);
    eps_ = config.at(chatglm ? "layernorm_epsilon" : "rms_norm_eps");
  }

  std::vector<double> Logits(std::span<const int32_t> ids) {
    Rows x;
    for (const int32_t id : ids) x.push_back(Embedding(static_cast<size_t>(id)));
    for (size_t layer = 0; layer < n_layers_; ++layer) Layer(layer, x);
    std::vector<double> logits;
    const double cap = Setting(config_, "final_logit_softcapping", 0.0);
    for (const Row& row : x) {
      for (const double logit : Head(Norm(row, names_.norm))) {
        logits.push_back(Softcap(logit / Multiplier("logits_scaling"), cap));
      }
    }
    CheckAllUsed();
    return logits;
  }

 private:
  // --- tensors ---

  const PlainTensor& Find(const std::string& name, const std::vector<size_t>& shape) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error("plain_decoder: no tensor " + name);
    if (found->second.shape != shape && !shape.empty())
      throw std::runtime_error("plain_decoder: another shape: " + name);
    used_.insert(name);
    return found->second;
  }

  bool Tied() const { return Setting(config_, "tie_word_embeddings", type_ == "gemma2"); }

  void CheckAllUsed() const {
    for (const auto& [name, tensor] : tensors_) {
      const bool buffer = name.ends_with("inv_freq") || (Tied() && name == names_.head + ".weight");
      if (!buffer && !used_.contains(name))
        throw std::runtime_error("plain_decoder: left over: " + name);
    }
  }

  // W x + b; W is (out, in).
  Row Linear(const Row& x, const std::string& name, bool bias = false) {
    const PlainTensor& w = Find(name + ".weight", {});
    if (w.shape.size() != 2 || w.shape[1] != x.size())
      throw std::runtime_error("plain_decoder: another shape: " + name);
    Row y(w.shape[0]);
    for (size_t r = 0; r < y.size(); ++r) {
      for (size_t c = 0; c < x.size(); ++c) y[r] += x[c] * w.values[r * x.size() + c];
    }
    if (!bias) return y;
    const PlainTensor& b = Find(name + ".bias", {y.size()});
    for (size_t r = 0; r < y.size(); ++r) y[r] += b.values[r];
    return y;
  }

  // x / sqrt(mean(x^2) + eps) * weight.
  Row Norm(const Row& x, const std::string& name) {
    const PlainTensor& w = Find(name + ".weight", {x.size()});
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double by = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps_);
    Row y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = x[i] * by * (family_.norm_plus_one ? 1.0 + w.values[i] : w.values[i]);
    }
    return y;
  }

  // --- parts ---

  Row Embedding(size_t id) {
    const PlainTensor& w = Find(names_.embedding + ".weight", {});
    const size_t dim = config_.at("hidden_size");
    if (w.shape.at(1) != dim) throw std::runtime_error("plain_decoder: shape of the embedding");
    if (id >= w.shape[0]) throw std::runtime_error("plain_decoder: id out of range");
    // Gemma: times sqrt(dim), which the published code rounds to the type of the activations.
    const bool scaled = type_ == "gemma2";
    const double by = scaled ? static_cast<float>(std::sqrt(static_cast<double>(dim)))
                             : Multiplier("embedding_multiplier");
    Row x(dim);
    for (size_t i = 0; i < dim; ++i) x[i] = w.values[id * dim + i] * by;
    return x;
  }

  // Of Granite (granite/modular_granite.py); 1 in all others.
  double Multiplier(const char* key) const {
    return type_ == "granite" ? Setting(config_, key, 1.0) : 1.0;
  }

  Row Head(const Row& x) { return Linear(x, Tied() ? names_.embedding : names_.head); }

  struct Bias {
    bool qkv = false, out = false, mlp = false;
  };
  Bias BiasOf() const {
    const auto on = [&](const char* key, bool value = false) {
      return Setting(config_, key, value);
    };
    if (type_ == "llama" || type_ == "granite") return {on("attention_bias"), on("attention_bias"),
                                                            on("mlp_bias")};
    if (type_ == "qwen2") return {.qkv = true};
    if (type_ == "qwen2_moe") return {.qkv = on("qkv_bias", true)};
    if (type_ == "qwen3" || type_ == "gemma2") return {on("attention_bias"), on("attention_bias")};
    if (type_ == "glm" || type_ == "glm4") return {.qkv = on("attention_bias", type_ == "glm")};
    if (type_ == "chatglm")
      return {on("add_qkv_bias") || on("add_bias_linear"), on("add_bias_linear"),
              on("add_bias_linear")};
    return {};
  }

  // Keys that a token of this layer sees, itself included; 0: all before it.
  size_t Window(size_t layer) const {
    const size_t window = Setting<size_t>(config_, "sliding_window", 0);
    if (type_.starts_with("qwen") && !Setting(config_, "use_sliding_window", false)) return 0;
    if (type_ == "llama" || type_ == "granite" || type_.find("glm") != std::string::npos) return 0;
    if (Has(config_, "layer_types")) {
      return config_["layer_types"].at(layer) == "sliding_attention" ? window : 0;
    }
    if (type_ == "gemma2") return layer % 2 == 0 ? window : 0;
    // Versions of the published code differ; no published model has it.
    if (type_ == "qwen2_moe") throw std::runtime_error("plain_decoder: windows of qwen2_moe");
    if (type_.starts_with("qwen"))
      return layer >= config_.at("max_window_layers").get<size_t>() ? window : 0;
    return window;
  }

  struct Qkv {
    Row q, k, v;  // (heads, head_dim)
  };
  Qkv Project(const Row& x, const std::string& layer) {
    const size_t q_size = n_heads_ * head_dim_, kv_size = n_kv_heads_ * head_dim_;
    const bool bias = BiasOf().qkv;
    if (!family_.fused_qkv) {
      const std::string at = layer + "self_attn.";
      return {Linear(x, at + "q_proj", bias), Linear(x, at + "k_proj", bias),
              Linear(x, at + "v_proj", bias)};
    }
    const Row qkv = Linear(x, layer + names_.qkv, bias);
    if (qkv.size() != q_size + 2 * kv_size) throw std::runtime_error("plain_decoder: fused qkv");
    return {Part(qkv, 0, q_size), Part(qkv, q_size, kv_size), Part(qkv, q_size + kv_size, kv_size)};
  }

  // The norm of each head (Qwen 3), then the rope.
  void Place(Row& heads, size_t position, const std::string& norm) {
    for (size_t h = 0; h < heads.size() / head_dim_; ++h) {
      Row head = Part(heads, h * head_dim_, head_dim_);
      if (family_.qk_norm) head = Norm(head, norm);
      Rotate(rope_, position, head.data());
      std::copy(head.begin(), head.end(), heads.begin() + static_cast<ptrdiff_t>(h * head_dim_));
    }
  }

  // softmax(cap(q k^T * scale)) v of head h of the token at `position`.
  void Attend(const std::vector<Qkv>& prefix, const std::vector<Qkv>& tokens, size_t position, size_t h,
              size_t window, double* out) {
    const double cap = Setting(config_, "attn_logit_softcapping", 0.0);
    const double width = type_ == "gemma2" ? config_.at("query_pre_attn_scalar").get<double>()
                                           : static_cast<double>(head_dim_);
    const size_t kv = h / (n_heads_ / n_kv_heads_) * head_dim_;
    const size_t first = window == 0 || position < window ? 0 : position + 1 - window;
    std::vector<const Qkv*> seen;
    for (const Qkv& entry : prefix) seen.push_back(&entry);
    for (size_t t = first; t <= position; ++t) seen.push_back(&tokens[t]);
    Row scores;
    for (const Qkv* other : seen) {
      double dot = 0;
      for (size_t i = 0; i < head_dim_; ++i) {
        dot += tokens[position].q[h * head_dim_ + i] * other->k[kv + i];
      }
      const bool own = type_ == "granite";
      const double scale = own ? Multiplier("attention_multiplier") : 1 / std::sqrt(width);
      scores.push_back(Softcap(dot * scale, cap));
    }
    Softmax(scores);
    for (size_t i = 0; i < head_dim_; ++i) {
      out[i] = 0;
      for (size_t s = 0; s < seen.size(); ++s) out[i] += scores[s] * seen[s]->v[kv + i];
    }
  }

  // Keys and values of the prefix in a layer.
  std::vector<Qkv> Prefix(size_t layer) const {
    std::vector<Qkv> entries;
    const size_t part = n_kv_heads_ * head_dim_;
    for (size_t e = 0; prefix_ && e < prefix_->length; ++e) {
      const float* row = prefix_->rows.data() + (e * n_layers_ + layer) * 2 * part;
      entries.push_back({{}, {row, row + part}, {row + part, row + 2 * part}});
    }
    return entries;
  }

  // `x` are the normed inputs; gives what is added to the residual.
  Rows Attention(const Rows& x, size_t layer, const std::string& name) {
    std::vector<Qkv> tokens;
    for (size_t t = 0; t < x.size(); ++t) {
      tokens.push_back(Project(x[t], name));
      if (tokens[t].q.size() != n_heads_ * head_dim_ || tokens[t].k.size() != tokens[t].v.size() ||
          tokens[t].k.size() != n_kv_heads_ * head_dim_)
        throw std::runtime_error("plain_decoder: sizes of q, k, v");
      Place(tokens[t].q, t, name + "self_attn.q_norm");
      Place(tokens[t].k, t, name + "self_attn.k_norm");
    }
    Rows result;
    for (size_t t = 0; t < x.size(); ++t) {
      Row heads(n_heads_ * head_dim_);
      for (size_t h = 0; h < n_heads_; ++h) {
        Attend(Prefix(layer), tokens, t, h, Window(layer), heads.data() + h * head_dim_);
      }
      result.push_back(Linear(heads, name + names_.out, BiasOf().out));
    }
    return result;
  }

  // down(act(gate) * up), the three of any name.
  Row Gated(const Row& x, const std::string& gate, const std::string& up, const std::string& down) {
    const bool bias = BiasOf().mlp;
    Row g = Linear(x, gate, bias);
    const Row u = Linear(x, up, bias);
    for (size_t i = 0; i < g.size(); ++i) g[i] = Activation(g[i]) * u.at(i);
    return Linear(g, down, bias);
  }

  double Activation(double x) const { return type_ == "gemma2" ? GeluTanh(x) : Silu(x); }

  Row Mlp(const Row& x, size_t layer, const std::string& name) {
    if (type_ == "mixtral") return Mixtral(x, name + "block_sparse_moe.");
    const std::string mlp = name + "mlp.";
    if (type_ == "qwen2_moe" && IsSparse(layer)) return QwenMoe(x, mlp);
    if (!family_.fused_gate_up)
      return Gated(x, mlp + "gate_proj", mlp + "up_proj", mlp + "down_proj");
    const Row both = Linear(x, name + names_.gate_up, BiasOf().mlp);
    Row g(both.size() / 2);
    for (size_t i = 0; i < g.size(); ++i) g[i] = Activation(both[i]) * both[g.size() + i];
    return Linear(g, name + names_.down, BiasOf().mlp);
  }

  // --- mixtures of experts ---

  // The share of each expert: softmax over all, then the k largest, over their sum if `norm`.
  Row Route(const Row& x, const std::string& gate, bool norm) {
    Row shares = Linear(x, gate);
    Softmax(shares);
    std::vector<size_t> order(shares.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return shares[a] > shares[b]; });
    const size_t k = config_.at("num_experts_per_tok");
    double sum = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i < k)
        sum += shares[order[i]];
      else
        shares[order[i]] = 0;
    }
    if (norm)
      for (double& share : shares) share /= sum;
    return shares;
  }

  Row Mixtral(const Row& x, const std::string& moe) {
    const Row shares = Route(x, moe + "gate", true);
    if (shares.size() != config_.at("num_local_experts").get<size_t>())
      throw std::runtime_error("plain_decoder: number of experts");
    Row y(x.size());
    for (size_t e = 0; e < shares.size(); ++e) {
      const std::string expert = moe + "experts." + std::to_string(e) + ".";
      Add(y, Gated(x, expert + "w1", expert + "w3", expert + "w2"), shares[e]);
    }
    return y;
  }

  bool IsSparse(size_t layer) const {
    const json& dense = config_.contains("mlp_only_layers") ? config_["mlp_only_layers"] : json();
    if (std::find(dense.begin(), dense.end(), json(layer)) != dense.end()) return false;
    return (layer + 1) % Setting<size_t>(config_, "decoder_sparse_step", 1) == 0;
  }

  Row QwenMoe(const Row& x, const std::string& mlp) {
    const Row shares = Route(x, mlp + "gate", Setting(config_, "norm_topk_prob", false));
    if (shares.size() != config_.at("num_experts").get<size_t>())
      throw std::runtime_error("plain_decoder: number of experts");
    const auto gated = [&](const std::string& at) {
      return Gated(x, at + ".gate_proj", at + ".up_proj", at + ".down_proj");
    };
    Row y(x.size());
    for (size_t e = 0; e < shares.size(); ++e) {
      Add(y, gated(mlp + "experts." + std::to_string(e)), shares[e]);
    }
    const double open = 1 / (1 + std::exp(-Linear(x, mlp + "shared_expert_gate").at(0)));
    Add(y, gated(mlp + "shared_expert"), open);
    return y;
  }

  // --- layers ---

  void Layer(size_t layer, Rows& x) {
    const std::string name = names_.layers + std::to_string(layer) + ".";
    Rows normed;
    for (const Row& row : x) normed.push_back(Norm(row, name + "input_layernorm"));
    const Rows attended = Attention(normed, layer, name);
    for (size_t t = 0; t < x.size(); ++t) {
      const double by = Multiplier("residual_multiplier");
      Add(x[t], Maybe(attended[t], family_.after_attention, name), by);
      const Row y = Mlp(Norm(x[t], name + family_.before_mlp), layer, name);
      Add(x[t], Maybe(y, family_.after_mlp, name), by);
    }
  }

  Row Maybe(const Row& x, const char* norm, const std::string& layer) {
    return norm == nullptr ? x : Norm(x, layer + norm);
  }

  // Settings that would mean another computation than this file's.
  void CheckSettings() const {
    const auto is = [&](const char* key, const json& value) {
      if (Has(config_, key) && config_[key] != value)
        throw std::runtime_error("plain_decoder: " + std::string(key) + ": " + config_[key].dump());
    };
    if (type_ == "gemma2")
      is("hidden_activation", "gelu_pytorch_tanh");
    else
      is("hidden_act", "silu");
    is("rmsnorm", true);
    is("post_layer_norm", true);
    is("multi_query_attention", true);
    is("apply_residual_connection_post_layernorm", false);
  }

  const json& config_;
  const TensorMap& tensors_;
  const Family& family_;
  const Names names_;
  const std::string type_;
  const PlainRope rope_;
  const PlainPrefix* prefix_;
  size_t n_layers_ = 0, n_heads_ = 0, n_kv_heads_ = 0, head_dim_ = 0;
  double eps_ = 0;
  std::set<std::string> used_;
};

}  // namespace

std::vector<double> PlainLogits(const json& config, const TensorMap& tensors,
                                std::span<const int32_t> ids, size_t context,
                                const PlainPrefix* prefix) {
  return Decoder(config, tensors, context == 0 ? ids.size() : context, prefix).Logits(ids);
}

}  // namespace glint::test
