// Gemma 2 (Gemma Team 2024; transformers, modeling_gemma2.py). What sets it apart from LLaMA: norms
// before and after each half of a layer, whose weights are stored less 1; scores and logits that
// are capped by tanh; every other layer with a window; an embedding scaled by sqrt(dim), which is
// the head, too.
#include <cmath>

#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) { return HasModelType(c, "gemma2"); }

// An option that is absent, as in the first GGUF files, is as published. Null is "none".
Json WithDefaults(Json c) {
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, Json>>{
           {"attn_logit_softcapping", 50.0},
           {"final_logit_softcapping", 30.0},
           {"query_pre_attn_scalar", 256},
           {"sliding_window", 4096},
           {"tie_word_embeddings", true}}) {
    c.emplace(key, value);
  }
  return c;
}

double Softcap(const Json& c, const char* key, const std::string& where) {
  const double cap = NumberOr(c, key, 0, where);
  if (cap >= 0 && cap <= 1e6) return cap;
  throw Error(where + ": " + Quoted(key) + ": expected 0 to 1000000, found " +
              std::to_string(cap));
}

double ScoreScale(const Json& c, const std::string& where) {
  constexpr const char* kKey = "query_pre_attn_scalar";
  const double scalar = NumberOr(c, kKey, 256, where);
  if (scalar >= 1e-6 && scalar <= 1e9) return 1 / std::sqrt(scalar);
  throw Error(where + ": " + Quoted(kKey) + ": expected a number above 0, found " +
              std::to_string(scalar));
}

ImportPlan Plan(const Json& hf_config, const Json&, const std::string& where) {
  const Json c = WithDefaults(hf_config);
  RequireOption(c, HasOption(c, "hidden_activation") ? "hidden_activation" : "hidden_act",
                "gelu_pytorch_tanh", where);
  RequireOption(c, "attention_bias", false, where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  SetWindows(c, where, [](uint64_t layer) { return layer % 2 == 0; }, &d);
  AttentionForm attention;
  attention.scale = ScoreScale(c, where);
  attention.softcap = Softcap(c, "attn_logit_softcapping", where);
  const double final_cap = Softcap(c, "final_logit_softcapping", where);
  const double embedding_scale = std::sqrt(static_cast<double>(d.dim));
  const auto describe = [=](Network& n) {
    using Value = Network::Value;
    const auto norm = [&](Value x, const char* word, const std::string& source) {
      return n.RmsNorm(x, word, source, d.norm_eps, 1);
    };
    Value x = n.Scale(n.Embedding("model.embed_tokens", d.vocab_size, d.dim), embedding_scale);
    n.SetRope(d.rope);
    for (uint64_t i = 0; i < d.n_layers; ++i) {
      n.BeginLayer(i, "model.layers." + std::to_string(i) + ".");
      const Value a = AttentionPart(n, norm(x, "attn_norm", "input_layernorm"), d, attention);
      x = n.Add(x, norm(a, "attn_post_norm", "post_attention_layernorm"));
      const Value f = FfnPart(n, norm(x, "ffn_norm", "pre_feedforward_layernorm"), d,
                              {.gelu = true});
      x = n.Add(x, norm(f, "ffn_post_norm", "post_feedforward_layernorm"));
    }
    n.EndLayers();
    const Value logits =
        n.Head(norm(x, "final_norm", "model.norm"), "lm_head", d.vocab_size, d.tied);
    return final_cap == 0 ? logits : n.Softcap(logits, final_cap);
  };
  return DecoderPlan("gemma2", d, c, "llama", where, describe);
}

// Gemma-2-2B.
constexpr char kGemma2b[] = R"({
  "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
  "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
  "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
  "sliding_window": 4096, "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0,
  "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh",
  "bos_token_id": 2, "eos_token_id": [1, 107]
})";

// llama.cpp has no key for query_pre_attn_scalar: head_dim but in the 27B, dim / heads (144).
void Adapt(Json* c) {
  (*c)["model_type"] = "gemma2";
  const uint64_t layers = c->value("num_hidden_layers", uint64_t{0});
  const uint64_t heads = c->value("num_attention_heads", uint64_t{1});
  const uint64_t dim = c->value("hidden_size", uint64_t{0});
  constexpr uint64_t kLayersOf27b = 46;
  (*c)["query_pre_attn_scalar"] =
      layers == kLayersOf27b && heads != 0 ? dim / heads : c->value("head_dim", uint64_t{256});
}

}  // namespace

extern const Architecture kGemma2;
const Architecture kGemma2 = {"gemma2", Accepts, Plan, {{"gemma-2-2b", kGemma2b}},
                              {{.architecture = "gemma2",
                                .keys = {{"attn_logit_softcapping", "attn_logit_softcapping", true},
                                         {"final_logit_softcapping", "final_logit_softcapping",
                                          true}},
                               .names = {{"post_attention_layernorm", "post_attention_norm"},
                                         {"pre_feedforward_layernorm", "ffn_norm"},
                                         {"post_feedforward_layernorm", "post_ffw_norm"}},
                               .plus_applied = true,
                               .adapt = Adapt}}};

}  // namespace glint
