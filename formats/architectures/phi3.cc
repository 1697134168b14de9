// Phi-3 and Phi-4-mini (Abdin et al. 2024; transformers, modeling_phi3.py): a LLaMA whose
// projections come fused, with LongRoPE for long contexts, and in Phi-4-mini a part of each head
// that is not turned.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) {
  return HasModelType(c, "phi3");
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  RequireOption(c, "attention_bias", false, where);
  DecoderConfig d = ReadDecoderConfig(c, where, 1.0);
  SetWindows(
      c, where, [](uint64_t) { return true; }, &d);
  return DecoderPlan(
      "phi3", d, c, "llama", where,
      LlamaNetwork(d, {.fused = "self_attn.qkv_proj"}, {.fused = "mlp.gate_up_proj"}));
}

// Phi-3-mini-4k-instruct.
constexpr char kPhi3Mini[] = R"({
  "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064,
  "max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
  "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 2047, "hidden_act": "silu",
  "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 32000
})";

}  // namespace

extern const Architecture kPhi3;
const Architecture kPhi3 = {
    "phi3",
    Accepts,
    Plan,
    {{"phi-3-mini", kPhi3Mini}},
    {{.architecture = "phi3", .adapt = [](Json* c) { (*c)["model_type"] = "phi3"; }}}};

}  // namespace glint
