// Qwen3, dense (Yang et al. 2025; transformers, modeling_qwen3.py): each head of q and k is normed
// before it is turned, in place of Qwen2's biases.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) {
  return HasModelType(c, "qwen3");
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  SetUpperWindows(c, where, &d);
  const bool bias = BoolOr(c, "attention_bias", false, where);
  return DecoderPlan("qwen3", d, c, "qwen2", where,
                     LlamaNetwork(d, {.qkv_bias = bias, .out_bias = bias, .qk_norm = true}, {}));
}

// Qwen3-8B.
constexpr char kQwen8b[] = R"({
  "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
  "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
  "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 151643,
  "eos_token_id": 151645
})";

}  // namespace

extern const Architecture kQwen3;
const Architecture kQwen3 = {
    "qwen3",
    Accepts,
    Plan,
    {{"qwen3-8b", kQwen8b}},
    {{.architecture = "qwen3", .adapt = [](Json* c) { (*c)["model_type"] = "qwen3"; }}}};

}  // namespace glint
