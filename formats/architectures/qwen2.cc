// Qwen2 and Qwen2.5 (Yang et al. 2024; transformers, modeling_qwen2.py): a LLaMA with biases on q,
// k and v. Some of its config.json files give the upper layers a window; the published ones do not
// use it.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) {
  return HasModelType(c, "qwen2");
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  SetUpperWindows(c, where, &d);
  return DecoderPlan("qwen2", d, c, "qwen2", where, LlamaNetwork(d, {.qkv_bias = true}, {}));
}

// Qwen2.5-0.5B-Instruct.
constexpr char kQwen05b[] = R"({
  "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
  "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
  "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": true, "eos_token_id": 151645
})";

// Qwen2.5-7B-Instruct.
constexpr char kQwen7b[] = R"({
  "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
  "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
  "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "eos_token_id": 151645
})";

}  // namespace

extern const Architecture kQwen2;
const Architecture kQwen2 = {
    "qwen2",
    Accepts,
    Plan,
    {{"qwen2.5-0.5b", kQwen05b}, {"qwen2.5-7b", kQwen7b}},
    {{.architecture = "qwen2", .adapt = [](Json* c) { (*c)["model_type"] = "qwen2"; }}}};

}  // namespace glint
