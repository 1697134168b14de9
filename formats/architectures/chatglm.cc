// ChatGLM-6B, the first version (Du et al. 2022, GLM; Zeng et al. 2022, GLM-130B; THUDM/chatglm-6b,
// modeling_chatglm.py). What sets it apart from GPT-2: positions in two dimensions (place in the
// context, place in the reply), each rotating one half of every head; a context that sees itself in
// both directions; and a residual that carries the normed input, scaled.
#include <cmath>
#include <set>

#include "formats/architectures/hf_options.h"
#include "formats/architectures/rows.h"
#include "formats/json.h"
#include "lib/builder.h"
#include "lib/error.h"
#include "quant/f16.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// The published code never passes the depth to its blocks, so their default of 28 layers decides the
// residual's scale whatever the real depth.
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
    throw Error(where + ": 'pre_seq_len': P-Tuning prefixes are not supported");
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

std::string LayerName(uint64_t layer) { return "layer." + std::to_string(layer); }

std::vector<ImportTensor> Tensors(const Hyper& h) {
  using Role = ImportTensor::Role;
  std::vector<ImportTensor> tensors;
  const auto vector = [&](const std::string& name, const std::string& source, uint64_t n) {
    tensors.push_back({name, {{source, n}}, {n}, Role::kVector});
  };
  const auto matrix = [&](const std::string& name, const std::string& source, uint64_t n, uint64_t k) {
    tensors.push_back({name, {{source, n}}, {n, k}, Role::kMatrix});
  };
  tensors.push_back({"embedding", {{"transformer.word_embeddings.weight", h.vocab_size}},
                     {h.vocab_size, h.dim}, Role::kVocabulary});
  // The published code rounds the frequencies to f16 and ignores the checkpoint's copies of them.
  std::vector<float> inv_freq = RotaryFrequencies(kRotaryBase, h.dim / h.n_heads / 2);
  for (float& f : inv_freq) f = F16ToF32(F32ToF16(f));
  tensors.push_back({"rope.inv_freq", {}, {inv_freq.size()}, Role::kVector, inv_freq});
  for (uint64_t i = 0; i < h.n_layers; ++i) {
    const std::string to = LayerName(i) + ".", from = "transformer.layers." + std::to_string(i) + ".";
    vector(to + "attn_norm.weight", from + "input_layernorm.weight", h.dim);
    vector(to + "attn_norm.bias", from + "input_layernorm.bias", h.dim);
    matrix(to + "qkv.weight", from + "attention.query_key_value.weight", 3 * h.dim, h.dim);
    vector(to + "qkv.bias", from + "attention.query_key_value.bias", 3 * h.dim);
    matrix(to + "attn_out.weight", from + "attention.dense.weight", h.dim, h.dim);
    vector(to + "attn_out.bias", from + "attention.dense.bias", h.dim);
    vector(to + "ffn_norm.weight", from + "post_attention_layernorm.weight", h.dim);
    vector(to + "ffn_norm.bias", from + "post_attention_layernorm.bias", h.dim);
    matrix(to + "ffn_up.weight", from + "mlp.dense_h_to_4h.weight", h.hidden_dim, h.dim);
    vector(to + "ffn_up.bias", from + "mlp.dense_h_to_4h.bias", h.hidden_dim);
    matrix(to + "ffn_down.weight", from + "mlp.dense_4h_to_h.weight", h.dim, h.hidden_dim);
    vector(to + "ffn_down.bias", from + "mlp.dense_4h_to_h.bias", h.dim);
  }
  vector("final_norm.weight", "transformer.final_layernorm.weight", h.dim);
  vector("final_norm.bias", "transformer.final_layernorm.bias", h.dim);
  ImportTensor head{"lm_head", {{"lm_head.weight", h.vocab_size}}, {h.vocab_size, h.dim},
                    Role::kVocabulary};
  head.tied_to = "embedding";
  tensors.push_back(head);
  return tensors;
}

Graph Build(const Hyper& h, const std::vector<Tensor>& tensors, const std::string& where) {
  GraphBuilder g("main", {"ids", "position.0", "position.1", "cache_index", "prefix_len"}, tensors,
                 where);
  using Value = GraphBuilder::Value;
  const std::vector<Value> positions = {g.Input("position.0"), g.Input("position.1")};
  Value x = g.Embedding(g.Input("ids"), "embedding");
  for (uint64_t i = 0; i < h.n_layers; ++i) {
    const std::string w = LayerName(i) + ".";
    g.SetPrefix(LayerName(i));
    const Value a = g.LayerNorm(x, w + "attn_norm.weight", w + "attn_norm.bias", h.norm_eps);
    const Value qkv = g.Linear(a, w + "qkv.weight", w + "qkv.bias", "qkv");
    GraphBuilder::Heads heads = g.SplitHeads(qkv, static_cast<int64_t>(h.n_heads), "per_head");
    heads.q = g.Rope(heads.q, "rope.inv_freq", positions);
    heads.k = g.Rope(heads.k, "rope.inv_freq", positions);
    const Value attention = g.Attention(heads, static_cast<int64_t>(i), "prefix");
    const Value attn_out = g.Linear(attention, w + "attn_out.weight", w + "attn_out.bias", "attn_out");
    x = g.AddScaled(a, kAlpha, attn_out);
    const Value f = g.LayerNorm(x, w + "ffn_norm.weight", w + "ffn_norm.bias", h.norm_eps);
    const Value up = g.Linear(f, w + "ffn_up.weight", w + "ffn_up.bias", "ffn_up");
    const Value down = g.Linear(g.Gelu(up, "tanh"), w + "ffn_down.weight", w + "ffn_down.bias",
                                "ffn_down");
    x = g.AddScaled(f, kAlpha, down);
  }
  g.SetPrefix("");
  x = g.LayerNorm(x, "final_norm.weight", "final_norm.bias", h.norm_eps);
  return g.Finish(g.Linear(x, "lm_head", "", "head"), "logits");
}

// Ids that the text's own stand after: the first revision, with 150528 rows, leaves room for 20000 image
// tokens (tokenization_chatglm.py: num_image_tokens).
int32_t IdOffset(const Json& tokenizer_config, uint64_t vocab_size, const std::string& where) {
  const uint64_t fallback = vocab_size >= 150000 ? 20000 : 0;
  if (tokenizer_config.is_null()) return static_cast<int32_t>(fallback);
  return static_cast<int32_t>(UintOr(tokenizer_config, "num_image_tokens", fallback, 1 << 24, where));
}

ImportPlan Plan(const Json& c, const Json& tokenizer_config, const std::string& where) {
  const Hyper h = ReadHyper(c, where);
  ImportPlan plan;
  plan.config = {{"architecture", "chatglm"},      {"dim", h.dim},
                 {"n_layers", h.n_layers},         {"n_heads", h.n_heads},
                 {"head_dim", h.dim / h.n_heads},  {"hidden_dim", h.hidden_dim},
                 {"vocab_size", h.vocab_size},     {"max_seq_len", h.max_seq_len},
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
  plan.prompt = {{"format", "chatglm-6b"}, {"position_scheme", "glm-2d"}, {"mask_id", mask},
                 {"gmask_id", gmask},      {"sop_id", sop},               {"eop_id", eop},
                 {"pad_id", pad},          {"stop_ids", {eop}}};
  // Ours, for models trained on short chats: config.json of THUDM has no such key.
  if (c.contains("max_history")) plan.prompt["max_history"] = GetUint(c, "max_history", 0, 1 << 20, where);
  plan.tokenizer = {{"mask_id", mask}, {"gmask_id", gmask}, {"sop_id", sop}, {"eop_id", eop},
                    {"pad_id", pad}};
  plan.tokenizer_rules = {"chatglm1", IdOffset(tokenizer_config, h.vocab_size, where)};
  plan.tokenizer_files = {"ice_text.model"};
  plan.tensors = Tensors(h);
  plan.ignored = {".inv_freq"};
  plan.build = [h](const std::vector<Tensor>& tensors, const std::string& place) {
    return Build(h, tensors, place);
  };
  return plan;
}

}  // namespace

const Architecture kChatGlm = {"chatglm", Accepts, Plan};

const char* const kChatGlm6bConfig = R"({
  "model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32,
  "inner_hidden_size": 16384, "vocab_size": 130528, "max_sequence_length": 2048,
  "layernorm_epsilon": 1e-5, "position_encoding_2d": true, "mask_token_id": 130000,
  "gmask_token_id": 130001, "bos_token_id": 130004, "eos_token_id": 130005, "pad_token_id": 3
})";

}  // namespace glint
