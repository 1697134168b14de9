// LLaMA 1 to 3.2 (Touvron et al. 2023; transformers, modeling_llama.py), and models that are one by
// another name. What sets it apart from GPT-2: RMSNorm, a gated feed-forward network with SiLU,
// rotary positions, and key and value heads that several query heads share.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) {
  return HasModelType(c, "llama");
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  if (HasOption(c, "sliding_window")) {
    throw Error(where + ": 'sliding_window': a LLaMA has no attention windows");
  }
  const DecoderConfig d = ReadDecoderConfig(c, where);
  const bool bias = BoolOr(c, "attention_bias", false, where);
  const bool mlp_bias = BoolOr(c, "mlp_bias", false, where);
  return DecoderPlan("llama", d, c, "llama", where,
                     LlamaNetwork(d, {.qkv_bias = bias, .out_bias = bias}, {.bias = mlp_bias}));
}

// LLaMA-2-7B.
constexpr char kLlama7b[] = R"({
  "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
  "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
})";

// LLaMA-3.1-8B.
constexpr char kLlama8b[] = R"({
  "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
  "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
  "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                   "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
  "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 128000,
  "eos_token_id": 128001
})";

}  // namespace

extern const Architecture kLlama;
const Architecture kLlama = {"llama",
                             Accepts,
                             Plan,
                             {{"llama-7b", kLlama7b}, {"llama-3.1-8b", kLlama8b}},
                             {{.architecture = "llama", .permuted = true, .adapt = [](Json* c) {
                                 (*c)["model_type"] = "llama";
                               }}}};

}  // namespace glint
