// ChatGLM-6B, the first version (Du et al. 2022, GLM; Zeng et al. 2022, GLM-130B; THUDM/chatglm-6b,
// modeling_chatglm.py). What sets it apart from GPT-2: positions in two dimensions (place in the
// context, place in the reply), each rotating one half of every head; a context that sees itself in
// both directions; and a residual that carries the normed input, scaled.
#include <cmath>

#include "formats/architectures/architecture.h"
#include "formats/architectures/hf_options.h"
#include "formats/architectures/network.h"
#include "formats/json.h"
#include "lib/error.h"
#include "quant/f16.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// The published code never passes the depth to its blocks, so their default of 28 layers decides
// the residual's scale whatever the real depth.
const double kAlpha = std::sqrt(2.0 * 28.0);
constexpr double kRotaryBase = 10000.0;

struct Hyper {
  uint64_t dim, n_layers, n_heads, hidden_dim, vocab_size, max_seq_len;
  double norm_eps;
};

bool Accepts(const Json& c) {
  const auto model_type = c.find("model_type");
  // ChatGLM2 and later share the model_type, but not these keys.
  return model_type != c.end() && *model_type == "chatglm" && c.contains("num_layers") &&
         !c.contains("padded_vocab_size") && !c.contains("multi_query_attention");
}

Hyper ReadHyper(const Json& c, const std::string& where) {
  RequireOption(c, "position_encoding_2d", true, where);
  if (UintOr(c, "pre_seq_len", 0, UINT32_MAX, where) != 0) {
    throw Error(where + ": 'pre_seq_len': a model and its P-Tuning prefix in one are not supported "
                "(the prefix alone becomes an adapter)");
  }
  Hyper h;
  h.dim = GetUint(c, "hidden_size", 1, 1 << 20, where);
  h.n_layers = GetUint(c, "num_layers", 1, 4096, where);
  h.n_heads = GetUint(c, "num_attention_heads", 1, 4096, where);
  h.hidden_dim = UintOr(c, "inner_hidden_size", 4 * h.dim, 1 << 22, where, 1);
  h.vocab_size = GetUint(c, "vocab_size", 1, 1 << 24, where);
  h.max_seq_len = UintOr(c, "max_sequence_length", 2048, 1 << 24, where, 1);
  h.norm_eps = GetNumber(c, "layernorm_epsilon", where);
  if (h.dim % (4 * h.n_heads) != 0) {
    throw Error(where + ": hidden_size " + std::to_string(h.dim) + " is not a multiple of 4 * " +
                std::to_string(h.n_heads) + " heads");
  }
  return h;
}

Network::Value Describe(Network& n, const Hyper& h) {
  using Value = Network::Value;
  Value x = n.Embedding("transformer.word_embeddings", h.vocab_size, h.dim);
  // The published code rounds the frequencies to f16 and ignores the checkpoint's copies of them.
  RopeForm rope{RotaryFrequencies(kRotaryBase, h.dim / h.n_heads / 2)};
  for (float& f : rope.inv_freq) f = F16ToF32(F32ToF16(f));
  n.SetRope(rope);
  for (uint64_t i = 0; i < h.n_layers; ++i) {
    n.BeginLayer(i, "transformer.layers." + std::to_string(i) + ".");
    const Value a = n.LayerNorm(x, "attn_norm", "input_layernorm", h.norm_eps);
    const Value qkv = n.Linear(a, "qkv", {{"attention.query_key_value", 3 * h.dim}}, true);
    const Value attention = n.Attention(n.Rope(n.SplitHeads(qkv, h.n_heads)), "prefix");
    x = n.Add(a, n.Linear(attention, "attn_out", {{"attention.dense", h.dim}}, true), kAlpha);
    const Value f = n.LayerNorm(x, "ffn_norm", "post_attention_layernorm", h.norm_eps);
    const Value up = n.Linear(f, "ffn_up", {{"mlp.dense_h_to_4h", h.hidden_dim}}, true);
    x = n.Add(f, n.Linear(n.Gelu(up), "ffn_down", {{"mlp.dense_4h_to_h", h.dim}}, true), kAlpha);
  }
  n.EndLayers();
  x = n.LayerNorm(x, "final_norm", "transformer.final_layernorm", h.norm_eps);
  return n.Head(x, "lm_head", h.vocab_size, true);
}

// Ids that the text's own stand after: the first revision, with 150528 rows, leaves room for 20000
// image tokens (tokenization_chatglm.py: num_image_tokens).
int32_t IdOffset(const Json& tokenizer_config, uint64_t vocab_size, const std::string& where) {
  const uint64_t fallback = vocab_size >= 150000 ? 20000 : 0;
  if (tokenizer_config.is_null()) return static_cast<int32_t>(fallback);
  return static_cast<int32_t>(
      UintOr(tokenizer_config, "num_image_tokens", fallback, 1 << 24, where));
}

ImportPlan Plan(const Json& c, const Json& tokenizer_config, const std::string& where) {
  const Hyper h = ReadHyper(c, where);
  ImportPlan plan;
  plan.config = {{"architecture", "chatglm"},     {"dim", h.dim},
                 {"n_layers", h.n_layers},        {"n_heads", h.n_heads},
                 {"head_dim", h.dim / h.n_heads}, {"hidden_dim", h.hidden_dim},
                 {"vocab_size", h.vocab_size},    {"max_seq_len", h.max_seq_len},
                 {"norm_eps", h.norm_eps}};
  // Ids that an old config.json leaves out are the defaults of the published configuration class.
  const uint64_t last = h.vocab_size - 1;
  const uint64_t mask = UintOr(c, "mask_token_id", 150000, last, where);
  const uint64_t gmask = UintOr(c, "gmask_token_id", 150001, last, where);
  const uint64_t sop = UintOr(c, "bos_token_id", 150004, last, where);
  const uint64_t eop = UintOr(c, "eos_token_id", 150005, last, where);
  const uint64_t pad = UintOr(c, "pad_token_id", 0, last, where);
  for (const uint64_t id : {mask, gmask, sop, eop}) {
    if (id > last) {
      throw Error(where + ": special id " + std::to_string(id) + " is outside the vocabulary of " +
                  std::to_string(h.vocab_size));
    }
  }
  plan.prompt = {{"format", "chatglm-6b"}, {"position_scheme", "glm-2d"},
                 {"mask_id", mask},        {"gmask_id", gmask},
                 {"sop_id", sop},          {"eop_id", eop},
                 {"pad_id", pad},          {"stop_ids", {eop}}};
  // Ours, for models trained on short chats: config.json of THUDM has no such key.
  if (c.contains("max_history"))
    plan.prompt["max_history"] = GetUint(c, "max_history", 0, 1 << 20, where);
  plan.tokenizer = {
      {"mask_id", mask}, {"gmask_id", gmask}, {"sop_id", sop}, {"eop_id", eop}, {"pad_id", pad}};
  plan.tokenizer_rules = {"chatglm1", IdOffset(tokenizer_config, h.vocab_size, where)};
  plan.ignored = {".inv_freq"};
  SetNetwork(
      {"ids", "position.0", "position.1", "cache_index", "prefix_len"},
      [h](Network& n) { return Describe(n, h); }, &plan);
  return plan;
}

constexpr char kChatGlm6b[] = R"({
  "model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32,
  "inner_hidden_size": 16384, "vocab_size": 130528, "max_sequence_length": 2048,
  "layernorm_epsilon": 1e-5, "position_encoding_2d": true, "mask_token_id": 130000,
  "gmask_token_id": 130001, "bos_token_id": 130004, "eos_token_id": 130005, "pad_token_id": 3
})";

}  // namespace

extern const Architecture kChatGlm;
const Architecture kChatGlm = {"chatglm", Accepts, Plan, {{"chatglm-6b", kChatGlm6b}}};

}  // namespace glint
