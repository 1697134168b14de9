#include "formats/architectures/decoder.h"

#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxDim = 1 << 20, kMaxWidth = 1 << 22, kMaxContext = 1 << 24;
constexpr uint64_t kMaxLayers = 4096, kMaxHeads = 4096, kMaxHeadDim = 1 << 14;
// Of all layers: several times what any model has. Three tensors are listed for each before the
// checkpoint is asked whether it has them.
constexpr uint64_t kMaxExpertsOfAll = 1 << 16;

uint64_t RotaryDim(const Json& c, uint64_t head_dim, std::optional<double> fallback,
                   const std::string& where) {
  constexpr const char* kKey = "partial_rotary_factor";
  // transformers 5 has it among the parameters of the positions.
  const Json& options =
      HasOption(c, "rope_parameters") ? GetObject(c, "rope_parameters", where) : c;
  const Json& place = HasOption(options, kKey) ? options : c;
  if (!fallback) RequireOption(place, kKey, 1.0, where);
  const double part =
      NumberOr(place, kKey, fallback.value_or(1), where) * static_cast<double>(head_dim);
  if (part >= 2 && part <= static_cast<double>(head_dim)) {
    const auto dim = static_cast<uint64_t>(part);
    if (dim % 2 == 0) return dim;
  }
  throw Error(where + ": 'partial_rotary_factor': expected an even part of " +
              std::to_string(head_dim) + " elements, found " + std::to_string(part));
}

void CheckHeads(const DecoderConfig& d, const std::string& where) {
  if (d.head_dim == 0 || d.head_dim % 2 != 0) {
    throw Error(where + ": 'head_dim': expected an even number, found " +
                std::to_string(d.head_dim));
  }
  if (d.n_heads % d.n_kv_heads != 0) {
    throw Error(where + ": " + std::to_string(d.n_heads) + " attention heads cannot share " +
                std::to_string(d.n_kv_heads) + " key_value heads evenly");
  }
}

// Newer files say of each layer whether it has a window.
void ReadLayerTypes(const Json& c, const std::string& where, DecoderConfig* d) {
  const Json& types = GetArray(c, "layer_types", where);
  if (types.size() != d->n_layers) {
    throw Error(where + ": 'layer_types': expected " + std::to_string(d->n_layers) +
                " of them, found " + std::to_string(types.size()));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    d->windows[i] = 0;
    if (types[i] == "full_attention") continue;
    if (types[i] != "sliding_attention") {
      throw Error(where +
                  ": 'layer_types': expected \"full_attention\" or \"sliding_attention\", found " +
                  Quoted(types[i].dump()));
    }
    d->windows[i] = GetUint(c, "sliding_window", 1, kMaxContext, where);
  }
}

}  // namespace

DecoderConfig ReadDecoderConfig(const Json& c, const std::string& where,
                                std::optional<double> partial_rotary) {
  DecoderConfig d;
  d.dim = GetUint(c, "hidden_size", 1, kMaxDim, where);
  d.n_layers = GetUint(c, "num_hidden_layers", 1, kMaxLayers, where);
  d.n_heads = GetUint(c, "num_attention_heads", 1, kMaxHeads, where);
  d.n_kv_heads = UintOr(c, "num_key_value_heads", d.n_heads, kMaxHeads, where, 1);
  d.hidden_dim = GetUint(c, "intermediate_size", 1, kMaxWidth, where);
  d.vocab_size = GetUint(c, "vocab_size", 1, 1 << 24, where);
  d.max_seq_len = UintOr(c, "max_position_embeddings", 2048, kMaxContext, where, 1);
  d.norm_eps = NumberOr(c, "rms_norm_eps", 1e-6, where);
  d.tied = BoolOr(c, "tie_word_embeddings", false, where);
  if (!HasOption(c, "head_dim") && d.dim % d.n_heads != 0) {
    throw Error(where + ": hidden_size " + std::to_string(d.dim) + " is not a multiple of " +
                std::to_string(d.n_heads) + " heads");
  }
  d.head_dim = UintOr(c, "head_dim", d.dim / d.n_heads, kMaxHeadDim, where, 1);
  CheckHeads(d, where);
  d.rope = ReadRope(c, RotaryDim(c, d.head_dim, partial_rotary, where), d.max_seq_len, where);
  d.windows.assign(d.n_layers, 0);
  if (HasOption(c, "layer_types")) ReadLayerTypes(c, where, &d);
  return d;
}

void SetWindows(const Json& c, const std::string& where,
                const std::function<bool(uint64_t layer)>& has_window, DecoderConfig* decoder) {
  if (HasOption(c, "layer_types") || !HasOption(c, "sliding_window")) return;
  const uint64_t window = GetUint(c, "sliding_window", 1, kMaxContext, where);
  for (uint64_t i = 0; i < decoder->n_layers; ++i) {
    if (has_window(i)) decoder->windows[i] = window;
  }
}

void SetUpperWindows(const Json& c, const std::string& where, DecoderConfig* decoder) {
  if (!BoolOr(c, "use_sliding_window", false, where)) return;
  const uint64_t first = UintOr(c, "max_window_layers", 28, kMaxLayers, where);
  SetWindows(
      c, where, [first](uint64_t layer) { return layer >= first; }, decoder);
}

Network::Value AttentionPart(Network& n, Network::Value x, const DecoderConfig& d,
                             const AttentionForm& form) {
  const uint64_t q = d.n_heads * d.head_dim, kv = d.n_kv_heads * d.head_dim;
  std::vector<ImportSource> sources = {
      {"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}};
  if (form.fused) sources = {{form.fused, q + 2 * kv}};
  const Network::Value qkv = n.Linear(x, "qkv", sources, form.qkv_bias);
  Network::Heads heads = n.SplitQkv(qkv, d.n_heads, d.n_kv_heads);
  if (form.qk_norm) {
    heads.q = n.RmsNorm(heads.q, "q_norm", "self_attn.q_norm", d.norm_eps);
    heads.k = n.RmsNorm(heads.k, "k_norm", "self_attn.k_norm", d.norm_eps);
  }
  const Network::Value out =
      n.Attention(n.Rope(heads), "causal", d.windows[n.layer()], form.scale, form.softcap);
  return n.Linear(out, "attn_out", {{form.out, d.dim}}, form.out_bias);
}

Network::Value FfnPart(Network& n, Network::Value x, const DecoderConfig& d, const FfnForm& form) {
  const std::string word = form.word;
  const uint64_t hidden = form.hidden_dim == 0 ? d.hidden_dim : form.hidden_dim;
  ImportSource gate = {form.gate, hidden}, up = {form.up, hidden};
  if (form.fused) {
    gate = {form.fused, hidden, 0, 2 * hidden};
    up = {form.fused, hidden, hidden, 2 * hidden};
  }
  // In this order the plan does the activation function and the product along with the linears.
  const Network::Value gated = n.Linear(x, word + "_gate", {gate}, form.bias);
  const Network::Value active = form.gelu ? n.Gelu(gated) : n.Silu(gated);
  const Network::Value product = n.Mul(active, n.Linear(x, word + "_up", {up}, form.bias));
  return n.Linear(product, word + "_down", {{form.down, d.dim}}, form.bias);
}

void ReadExperts(const Json& config, const char* n_key, const std::string& where,
                 ExpertsForm* form) {
  form->n = GetUint(config, n_key, 1, kMaxExperts, where);
  form->top_k = GetUint(config, "num_experts_per_tok", 1, form->n, where);
  const uint64_t n_layers = GetUint(config, "num_hidden_layers", 1, kMaxLayers, where);
  if (n_layers * form->n <= kMaxExpertsOfAll) return;
  throw Error(where + ": " + Quoted(n_key) + ": expected at most " +
              std::to_string(kMaxExpertsOfAll) + " experts of all " + std::to_string(n_layers) +
              " layers, found " + std::to_string(form->n) + " each");
}

Network::Value ExpertsPart(Network& n, Network::Value x, const DecoderConfig& d,
                           const ExpertsForm& form) {
  const auto sources = [&](const char* name, uint64_t rows) {
    std::vector<ImportSource> all;
    for (uint64_t e = 0; e < form.n; ++e) {
      all.push_back({form.experts + ("." + std::to_string(e) + ".") + name, rows});
    }
    return all;
  };
  const Network::Value logits = n.SmallLinear(x, "router", form.router, form.n);
  const Network::Value routing = n.Route(logits, form.top_k, form.normalize);
  const auto routed = [&](Network::Value v, const char* word, const char* name, uint64_t rows) {
    return n.RoutedLinear(v, routing, word, sources(name, rows), form.top_k);
  };
  const Network::Value gate = n.Silu(routed(x, "expert_gate", form.gate, form.hidden_dim));
  const Network::Value product = n.Mul(gate, routed(x, "expert_up", form.up, form.hidden_dim));
  return n.Combine(routed(product, "expert_down", form.down, d.dim), routing, form.top_k);
}

Description LlamaNetwork(const DecoderConfig& d, const AttentionForm& attention,
                         const FfnForm& ffn) {
  return LlamaLikeNetwork(d, attention,
                          [=](Network& n, Network::Value x) { return FfnPart(n, x, d, ffn); });
}

Description LlamaLikeNetwork(const DecoderConfig& d, const AttentionForm& attention, Half half) {
  return [=](Network& n) {
    Network::Value x = n.Embedding("model.embed_tokens", d.vocab_size, d.dim);
    n.SetRope(d.rope);
    for (uint64_t i = 0; i < d.n_layers; ++i) {
      n.BeginLayer(i, "model.layers." + std::to_string(i) + ".");
      const Network::Value a = n.RmsNorm(x, "attn_norm", "input_layernorm", d.norm_eps);
      x = n.Add(x, AttentionPart(n, a, d, attention));
      const Network::Value f = n.RmsNorm(x, "ffn_norm", "post_attention_layernorm", d.norm_eps);
      x = n.Add(x, half(n, f));
    }
    n.EndLayers();
    x = n.RmsNorm(x, "final_norm", "model.norm", d.norm_eps);
    return n.Head(x, "lm_head", d.vocab_size, d.tied);
  };
}

bool HasModelType(const Json& config, const char* model_type) {
  const auto found = config.find("model_type");
  return found != config.end() && *found == model_type;
}

Json StopIds(const Json& c, uint64_t last, const std::string& where) {
  Json ids = Json::array();
  if (!HasOption(c, "eos_token_id")) return ids;
  if (!c.at("eos_token_id").is_array()) {
    ids.push_back(GetUint(c, "eos_token_id", 0, last, where));
    return ids;
  }
  for (const Json& id : c.at("eos_token_id")) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > last) {
      throw Error(where + ": 'eos_token_id': expected ids from 0 to " + std::to_string(last) +
                  ", found " + Quoted(id.dump()));
    }
    ids.push_back(id);
  }
  return ids;
}

ImportPlan DecoderPlan(const char* name, const DecoderConfig& d, const Json& hf_config,
                       const char* tokenizer, const std::string& where, Description describe) {
  ImportPlan plan;
  plan.config = {{"architecture", name},         {"dim", d.dim},
                 {"n_layers", d.n_layers},       {"n_heads", d.n_heads},
                 {"n_kv_heads", d.n_kv_heads},   {"head_dim", d.head_dim},
                 {"hidden_dim", d.hidden_dim},   {"vocab_size", d.vocab_size},
                 {"max_seq_len", d.max_seq_len}, {"norm_eps", d.norm_eps}};
  const uint64_t last = d.vocab_size - 1;
  plan.prompt = {{"position_scheme", "sequential"}, {"stop_ids", StopIds(hf_config, last, where)}};
  if (HasOption(hf_config, "bos_token_id")) {
    plan.prompt["bos_id"] = GetUint(hf_config, "bos_token_id", 0, last, where);
  }
  plan.tokenizer_rules = {tokenizer, 0};
  plan.ignored = {".rotary_emb.inv_freq"};
  SetNetwork({"ids", "position.0", "cache_index"}, std::move(describe), &plan);
  return plan;
}

}  // namespace glint
