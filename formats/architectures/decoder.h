#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "formats/architectures/architecture.h"
#include "formats/architectures/network.h"
#include "formats/architectures/rope.h"

// What LLaMA and the models after it have in common: options of config.json, and the two halves of
// a layer. An architecture's file puts them together and adds what is its own.
namespace glint {

struct DecoderConfig {
  uint64_t dim, n_layers, n_heads, n_kv_heads, head_dim, hidden_dim, vocab_size, max_seq_len;
  double norm_eps;
  bool tied;  // the head is the embedding
  RopeForm rope;
  std::vector<uint64_t> windows;  // (n_layers): tokens that a layer sees; 0: all
};

// Reads these options under Hugging Face's names. Windows are 0 but where `layer_types` says that a
// layer has one. `partial_rotary`: what part of each head is turned where no option says it; none:
// all of it, and nothing else is taken. Throws Error naming what is missing, does not fit, or
// changes what is computed and is not known.
DecoderConfig ReadDecoderConfig(const nlohmann::json& config, const std::string& where,
                                std::optional<double> partial_rotary = std::nullopt);

// Windows of `sliding_window` tokens (absent or null: none) for the layers for which `has_window`
// is true, unless `layer_types` has said which.
void SetWindows(const nlohmann::json& config, const std::string& where,
                const std::function<bool(uint64_t layer)>& has_window, DecoderConfig* decoder);

// The same for the layers from `max_window_layers` on, if `use_sliding_window` is true (Qwen).
void SetUpperWindows(const nlohmann::json& config, const std::string& where,
                     DecoderConfig* decoder);

struct AttentionForm {
  bool qkv_bias = false, out_bias = false;
  bool qk_norm = false;         // each head of q and k is normed (q_norm, k_norm)
  const char* fused = nullptr;  // the checkpoint's name if q, k and v are one matrix
  const char* out = "self_attn.o_proj";
  double scale = 0;    // of scores; 0: 1 / sqrt(head_dim)
  double softcap = 0;  // of scores; 0: none
};
// Projections, rotation, attention and output of the layer begun; `x` is normed.
Network::Value AttentionPart(Network& network, Network::Value x, const DecoderConfig& decoder,
                             const AttentionForm& form);

struct FfnForm {
  bool bias = false;
  bool gelu = false;  // in place of SiLU
  // The checkpoint's names; `fused` if gate and up are one matrix.
  const char *gate = "mlp.gate_proj", *up = "mlp.up_proj", *down = "mlp.down_proj";
  const char* fused = nullptr;
  const char* word = "ffn";  // of ours
  uint64_t hidden_dim = 0;   // 0: the decoder's
};
// down(act(gate(x)) * up(x)) of the layer begun; `x` is normed.
Network::Value FfnPart(Network& network, Network::Value x, const DecoderConfig& decoder,
                       const FfnForm& form);

struct ExpertsForm {
  uint64_t n = 0, top_k = 0;
  bool normalize = true;  // the chosen experts' weights add up to 1
  uint64_t hidden_dim = 0;
  // The checkpoint's names: of the router; of expert E "EXPERTS.E.GATE" and so on.
  const char *router = "mlp.gate", *experts = "mlp.experts";
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";
};
// Reads their number, under the key `n_key`, and how many a token meets.
void ReadExperts(const nlohmann::json& config, const char* n_key, const std::string& where,
                 ExpertsForm* form);
// The feed-forward network of the layer begun as a mixture of experts (Shazeer et al. 2017).
Network::Value ExpertsPart(Network& network, Network::Value x, const DecoderConfig& decoder,
                           const ExpertsForm& form);

// The whole network of LLaMA, and of those that differ from it in these forms alone.
Description LlamaNetwork(const DecoderConfig& decoder, const AttentionForm& attention,
                         const FfnForm& ffn);

// The same with another second half of a layer, which `half` makes from its normed input.
using Half = std::function<Network::Value(Network& network, Network::Value x)>;
Description LlamaLikeNetwork(const DecoderConfig& decoder, const AttentionForm& attention,
                             Half half);

// A plan for causal decoders, whose network is `describe`. `name` becomes config.architecture;
// `tokenizer` names the rules (ImportRules) where the tokenizer's file does not say them itself.
ImportPlan DecoderPlan(const char* name, const DecoderConfig& decoder,
                       const nlohmann::json& hf_config, const char* tokenizer,
                       const std::string& where, Description describe);

// config.json's model_type is this one.
bool HasModelType(const nlohmann::json& config, const char* model_type);

// The ids that end a reply: none, one, or a list (`eos_token_id`). Throws Error unless they are at
// most `last`.
nlohmann::json StopIds(const nlohmann::json& config, uint64_t last, const std::string& where);

}  // namespace glint
