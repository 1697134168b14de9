// Granite 3 (IBM; transformers, modeling_granite.py): a LLaMA whose embedding, halves of a layer and
// logits are scaled, and whose scores have a scale of their own.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) { return HasModelType(c, "granite"); }

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  const DecoderConfig d = ReadDecoderConfig(c, where);
  const bool bias = BoolOr(c, "attention_bias", false, where);
  const AttentionForm attention = {.qkv_bias = bias,
                                   .out_bias = bias,
                                   .scale = NumberOr(c, "attention_multiplier", 1, where)};
  const FfnForm ffn = {.bias = BoolOr(c, "mlp_bias", false, where)};
  const double embedding_scale = NumberOr(c, "embedding_multiplier", 1, where);
  const double residual_scale = NumberOr(c, "residual_multiplier", 1, where);
  const double logits_scale = 1 / NumberOr(c, "logits_scaling", 1, where);
  const auto describe = [=](Network& n) {
    using Value = Network::Value;
    Value x = n.Scale(n.Embedding("model.embed_tokens", d.vocab_size, d.dim), embedding_scale);
    n.SetRope(d.rope);
    for (uint64_t i = 0; i < d.n_layers; ++i) {
      n.BeginLayer(i, "model.layers." + std::to_string(i) + ".");
      const Value a = n.RmsNorm(x, "attn_norm", "input_layernorm", d.norm_eps);
      x = n.Add(x, n.Scale(AttentionPart(n, a, d, attention), residual_scale));
      const Value f = n.RmsNorm(x, "ffn_norm", "post_attention_layernorm", d.norm_eps);
      x = n.Add(x, n.Scale(FfnPart(n, f, d, ffn), residual_scale));
    }
    n.EndLayers();
    x = n.RmsNorm(x, "final_norm", "model.norm", d.norm_eps);
    return n.Scale(n.Head(x, "lm_head", d.vocab_size, d.tied), logits_scale);
  };
  return DecoderPlan("granite", d, c, "gpt2", where, describe);
}

// Granite-3.3-2B-Instruct.
constexpr char kGranite2b[] = R"({
  "model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192,
  "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
  "vocab_size": 49159, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
  "rope_theta": 10000000.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
  "attention_multiplier": 0.015625, "logits_scaling": 8.0, "hidden_act": "silu",
  "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0
})";

}  // namespace

extern const Architecture kGranite;
const Architecture kGranite = {
    "granite", Accepts, Plan, {{"granite-3.3-2b", kGranite2b}},
    {{.architecture = "granite",
      .keys = {{"attention.scale", "attention_multiplier", true},
               {"embedding_scale", "embedding_multiplier", true},
               {"residual_scale", "residual_multiplier", true},
               {"logit_scale", "logits_scaling", true}},
      .permuted = true,
      .adapt = [](Json* c) { (*c)["model_type"] = "granite"; }}}};

}  // namespace glint
