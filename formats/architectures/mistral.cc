// Mistral 7B and its kin (Jiang et al. 2023; transformers, modeling_mistral.py): a LLaMA whose tokens
// see a window of those before them.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) { return HasModelType(c, "mistral"); }

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  // Without the option the published class takes 4096; null is for none.
  const Json windowed = c.contains("sliding_window") ? c : Json{{"sliding_window", 4096}};
  SetWindows(windowed, where, [](uint64_t) { return true; }, &d);
  return DecoderPlan("mistral", d, c, "llama", where,
                     LlamaNetwork(d, {}, {}));
}

// Mistral-7B-v0.1.
constexpr char kMistral7b[] = R"({
  "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
  "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
  "vocab_size": 32000, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "sliding_window": 4096, "hidden_act": "silu",
  "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2
})";

}  // namespace

// In GGUF a Mistral is a "llama".
extern const Architecture kMistral;
const Architecture kMistral = {"mistral", Accepts, Plan, {{"mistral-7b", kMistral7b}}};

}  // namespace glint
