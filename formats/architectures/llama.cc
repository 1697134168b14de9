// LLaMA (Touvron et al. 2023) and models of its shape, as Hugging Face names them
// (modeling_llama.py): RMSNorm before attention and feed-forward, rotary positions, keys and values
// that several heads may share (Ainslie et al. 2023, GQA), a feed-forward gated by SiLU (Shazeer
// 2020, SwiGLU).
#include <cmath>

#include "formats/architectures/hf_options.h"
#include "formats/architectures/rows.h"
#include "formats/json.h"
#include "lib/builder.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

struct Hyper {
  uint64_t dim, n_layers, n_heads, n_kv_heads, head_dim, hidden_dim, vocab_size, max_seq_len;
  double norm_eps, rope_theta;
  bool attention_bias, mlp_bias, tied;
};

bool Accepts(const Json& c) {
  const auto model_type = c.find("model_type");
  return model_type != c.end() && *model_type == "llama";
}

// Options that would change what the graph computes.
void RefuseOtherOptions(const Json& c, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  RequireOption(c, "partial_rotary_factor", 1.0, where);
  if (HasOption(c, "sliding_window")) {
    throw Error(where + ": 'sliding_window': attention windows are not supported");
  }
  if (HasOption(c, "layer_types")) {
    for (const Json& type : GetArray(c, "layer_types", where)) {
      if (type == "full_attention") continue;
      throw Error(where + ": 'layer_types': expected \"full_attention\", found " +
                  Quoted(type.dump()));
    }
  }
}

// The base of the frequencies. Later files have it in an object with the scaling, which must be
// none.
double RopeTheta(const Json& c, const std::string& where) {
  double theta = NumberOr(c, "rope_theta", 10000.0, where);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!HasOption(c, key)) continue;
    const Json& object = GetObject(c, key, where);
    const std::string place = where + ": " + Quoted(key);
    for (const char* type : {"type", "rope_type"}) RequireOption(object, type, "default", place);
    if (!HasOption(object, "type") && !HasOption(object, "rope_type")) {
      throw Error(place +
                  ": expected null or 'rope_type' \"default\"; scaling of the positions is "
                  "not supported");
    }
    theta = NumberOr(object, "rope_theta", theta, place);
  }
  if (theta >= 1 && std::isfinite(theta)) return theta;
  throw Error(where + ": 'rope_theta': expected at least 1, found " + std::to_string(theta));
}

Hyper ReadHyper(const Json& c, const std::string& where) {
  RefuseOtherOptions(c, where);
  Hyper h;
  h.dim = GetUint(c, "hidden_size", 1, 1 << 20, where);
  h.n_layers = GetUint(c, "num_hidden_layers", 1, 4096, where);
  h.n_heads = GetUint(c, "num_attention_heads", 1, 4096, where);
  h.n_kv_heads = UintOr(c, "num_key_value_heads", h.n_heads, 4096, where, 1);
  h.hidden_dim = GetUint(c, "intermediate_size", 1, 1 << 22, where);
  h.vocab_size = GetUint(c, "vocab_size", 1, 1 << 24, where);
  h.max_seq_len = UintOr(c, "max_position_embeddings", 2048, 1 << 24, where, 1);
  h.norm_eps = NumberOr(c, "rms_norm_eps", 1e-6, where);
  h.rope_theta = RopeTheta(c, where);
  h.attention_bias = BoolOr(c, "attention_bias", false, where);
  h.mlp_bias = BoolOr(c, "mlp_bias", false, where);
  h.tied = BoolOr(c, "tie_word_embeddings", false, where);
  if (!HasOption(c, "head_dim") && h.dim % h.n_heads != 0) {
    throw Error(where + ": hidden_size " + std::to_string(h.dim) + " is not a multiple of " +
                std::to_string(h.n_heads) + " heads");
  }
  h.head_dim = UintOr(c, "head_dim", h.dim / h.n_heads, 1 << 14, where, 1);
  if (h.head_dim == 0 || h.head_dim % 2 != 0) {
    throw Error(where + ": 'head_dim': expected an even number, found " +
                std::to_string(h.head_dim));
  }
  if (h.n_heads % h.n_kv_heads != 0) {
    throw Error(where + ": " + std::to_string(h.n_heads) + " attention heads cannot share " +
                std::to_string(h.n_kv_heads) + " key_value heads evenly");
  }
  return h;
}

std::string LayerName(uint64_t layer) {
  return "layer." + std::to_string(layer);
}

// Collects the tensors; the checkpoint's names are given without ".weight" and ".bias".
class TensorList {
 public:
  void Vector(const std::string& name, const std::string& source, uint64_t n) {
    tensors.push_back({name, {{source, n}}, {n}, ImportTensor::Role::kVector});
  }
  // A matrix of the rows of some, and its bias if there is one.
  void Linear(const std::string& name, const std::vector<ImportSource>& sources, uint64_t cols,
              bool bias) {
    ImportTensor weight{name + ".weight", {}, {0, cols}, ImportTensor::Role::kMatrix};
    for (const ImportSource& source : sources) {
      weight.sources.push_back({source.name + ".weight", source.rows});
      weight.shape[0] += source.rows;
    }
    tensors.push_back(weight);
    if (!bias) return;
    ImportTensor vector{name + ".bias", {}, {weight.shape[0]}, ImportTensor::Role::kVector};
    for (const ImportSource& source : sources) {
      vector.sources.push_back({source.name + ".bias", source.rows});
    }
    tensors.push_back(vector);
  }

  std::vector<ImportTensor> tensors;
};

std::vector<ImportTensor> Tensors(const Hyper& h) {
  using Role = ImportTensor::Role;
  const uint64_t q = h.n_heads * h.head_dim, kv = h.n_kv_heads * h.head_dim;
  TensorList list;
  list.tensors.push_back({"embedding",
                          {{"model.embed_tokens.weight", h.vocab_size}},
                          {h.vocab_size, h.dim},
                          Role::kVocabulary});
  const std::vector<float> inv_freq = RotaryFrequencies(h.rope_theta, h.head_dim);
  list.tensors.push_back({"rope.inv_freq", {}, {inv_freq.size()}, Role::kVector, inv_freq});
  for (uint64_t i = 0; i < h.n_layers; ++i) {
    const std::string to = LayerName(i) + ".", from = "model.layers." + std::to_string(i) + ".";
    const std::string attention = from + "self_attn.", mlp = from + "mlp.";
    list.Vector(to + "attn_norm.weight", from + "input_layernorm.weight", h.dim);
    list.Linear(to + "qkv",
                {{attention + "q_proj", q}, {attention + "k_proj", kv}, {attention + "v_proj", kv}},
                h.dim, h.attention_bias);
    list.Linear(to + "attn_out", {{attention + "o_proj", h.dim}}, q, h.attention_bias);
    list.Vector(to + "ffn_norm.weight", from + "post_attention_layernorm.weight", h.dim);
    list.Linear(to + "ffn_gate", {{mlp + "gate_proj", h.hidden_dim}}, h.dim, h.mlp_bias);
    list.Linear(to + "ffn_up", {{mlp + "up_proj", h.hidden_dim}}, h.dim, h.mlp_bias);
    list.Linear(to + "ffn_down", {{mlp + "down_proj", h.dim}}, h.hidden_dim, h.mlp_bias);
  }
  list.Vector("final_norm.weight", "model.norm.weight", h.dim);
  ImportTensor head{
      "lm_head", {{"lm_head.weight", h.vocab_size}}, {h.vocab_size, h.dim}, Role::kVocabulary};
  if (h.tied) head.tied_to = "embedding";
  list.tensors.push_back(head);
  return list.tensors;
}

Graph Build(const Hyper& h, const std::vector<Tensor>& tensors, const std::string& where) {
  GraphBuilder g("main", {"ids", "position.0", "cache_index"}, tensors, where);
  using Value = GraphBuilder::Value;
  const auto linear = [&](Value x, const std::string& layer, const char* word, bool bias) {
    const std::string name = layer + "." + word;
    return g.Linear(x, name + ".weight", bias ? name + ".bias" : "", word);
  };
  const std::vector<Value> positions = {g.Input("position.0")};
  Value x = g.Embedding(g.Input("ids"), "embedding");
  for (uint64_t i = 0; i < h.n_layers; ++i) {
    const std::string layer = LayerName(i);
    g.SetPrefix(layer);
    const Value a = g.RmsNorm(x, layer + ".attn_norm.weight", h.norm_eps);
    const Value qkv = linear(a, layer, "qkv", h.attention_bias);
    GraphBuilder::Heads heads =
        g.SplitQkv(qkv, static_cast<int64_t>(h.n_heads), static_cast<int64_t>(h.n_kv_heads));
    heads.q = g.Rope(heads.q, "rope.inv_freq", positions);
    heads.k = g.Rope(heads.k, "rope.inv_freq", positions);
    const Value attention = g.Attention(heads, static_cast<int64_t>(i), "causal");
    x = g.AddScaled(x, 1.0, linear(attention, layer, "attn_out", h.attention_bias));
    const Value f = g.RmsNorm(x, layer + ".ffn_norm.weight", h.norm_eps);
    // In this order the plan does SiLU and the product along with the linears.
    const Value gate = g.Silu(linear(f, layer, "ffn_gate", h.mlp_bias));
    const Value gated = g.Mul(gate, linear(f, layer, "ffn_up", h.mlp_bias));
    x = g.AddScaled(x, 1.0, linear(gated, layer, "ffn_down", h.mlp_bias));
  }
  g.SetPrefix("");
  x = g.RmsNorm(x, "final_norm.weight", h.norm_eps);
  return g.Finish(g.Linear(x, "lm_head", "", "head"), "logits");
}

// The ids that end a reply: none, one, or a list.
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

// tokenizer_config.json may say that a text begins without <s>.
SentencePieceRules TokenizerRules(const Json& tokenizer_config, const std::string& where) {
  if (tokenizer_config.is_null()) return {"llama", 0};
  const std::string place = where + ": tokenizer_config.json";
  RequireOption(tokenizer_config, "add_eos_token", false, place);
  return {BoolOr(tokenizer_config, "add_bos_token", true, place) ? "llama" : "plain", 0};
}

ImportPlan Plan(const Json& c, const Json& tokenizer_config, const std::string& where) {
  const Hyper h = ReadHyper(c, where);
  ImportPlan plan;
  plan.config = {{"architecture", "llama"},      {"dim", h.dim},
                 {"n_layers", h.n_layers},       {"n_heads", h.n_heads},
                 {"n_kv_heads", h.n_kv_heads},   {"head_dim", h.head_dim},
                 {"hidden_dim", h.hidden_dim},   {"vocab_size", h.vocab_size},
                 {"max_seq_len", h.max_seq_len}, {"norm_eps", h.norm_eps}};
  const uint64_t last = h.vocab_size - 1;
  plan.prompt = {{"position_scheme", "sequential"}, {"stop_ids", StopIds(c, last, where)}};
  if (HasOption(c, "bos_token_id")) {
    plan.prompt["bos_id"] = GetUint(c, "bos_token_id", 0, last, where);
  }
  plan.tokenizer_rules = TokenizerRules(tokenizer_config, where);
  plan.tokenizer_files = {"tokenizer.model"};
  plan.tensors = Tensors(h);
  plan.ignored = {".rotary_emb.inv_freq"};
  plan.build = [h](const std::vector<Tensor>& tensors, const std::string& place) {
    return Build(h, tensors, place);
  };
  return plan;
}

}  // namespace

const Architecture kLlama = {"llama", Accepts, Plan};

// LLaMA-2-7B as published.
const char* const kLlama7bConfig = R"({
  "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
  "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
})";

}  // namespace glint
