// GLM-4 in its Hugging Face form (transformers, modeling_glm.py), and GLM-4-0414 and Z1
// (modeling_glm4.py), which norm each half of a layer after it, too. What sets them apart from
// LLaMA: pairs of neighbours are turned, in one half of each head; gate and up come fused.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) {
  return HasModelType(c, "glm") || HasModelType(c, "glm4");
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where, 0.5);
  d.rope.interleaved = true;
  const bool bias = BoolOr(c, "attention_bias", false, where);
  const bool post_norms = HasModelType(c, "glm4");
  const auto describe = [=](Network& n) {
    using Value = Network::Value;
    Value x = n.Embedding("model.embed_tokens", d.vocab_size, d.dim);
    n.SetRope(d.rope);
    for (uint64_t i = 0; i < d.n_layers; ++i) {
      n.BeginLayer(i, "model.layers." + std::to_string(i) + ".");
      const auto norm = [&](Value v, const char* word, const char* source) {
        return n.RmsNorm(v, word, source, d.norm_eps);
      };
      Value a = AttentionPart(n, norm(x, "attn_norm", "input_layernorm"), d, {.qkv_bias = bias});
      if (post_norms) a = norm(a, "attn_post_norm", "post_self_attn_layernorm");
      x = n.Add(x, a);
      Value f = FfnPart(n, norm(x, "ffn_norm", "post_attention_layernorm"), d,
                        {.fused = "mlp.gate_up_proj"});
      if (post_norms) f = norm(f, "ffn_post_norm", "post_mlp_layernorm");
      x = n.Add(x, f);
    }
    n.EndLayers();
    x = n.RmsNorm(x, "final_norm", "model.norm", d.norm_eps);
    return n.Head(x, "lm_head", d.vocab_size, d.tied);
  };
  return DecoderPlan(post_norms ? "glm4" : "glm", d, c, "glm4", where, describe);
}

// GLM-4-9B-0414.
constexpr char kGlm4[] = R"({
  "model_type": "glm4", "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40,
  "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128, "vocab_size": 151552,
  "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
  "partial_rotary_factor": 0.5, "attention_bias": true, "hidden_act": "silu",
  "tie_word_embeddings": false, "eos_token_id": [151329, 151336, 151338]
})";

}  // namespace

extern const Architecture kGlm;
const Architecture kGlm = {
    "glm",
    Accepts,
    Plan,
    {{"glm-4-9b-0414", kGlm4}},
    {{.architecture = "glm4",
      .names = {{"post_self_attn_layernorm", "post_attention_norm"},
                {"post_mlp_layernorm", "post_ffw_norm"}},
      .adapt = [](Json* c) { (*c)["model_type"] = "glm4"; }},
     // The older form, in THUDM's name.
     {.architecture = "chatglm", .marker = "blk.0.attn_q.weight", .adapt = [](Json* c) {
        (*c)["model_type"] = "glm";
      }}}};

}  // namespace glint
