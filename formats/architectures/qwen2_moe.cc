// Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024; transformers, modeling_qwen2_moe.py): Qwen2 with many
// small experts, whose weights are not made to add up to 1, and one that every token meets, behind a
// gate.
#include <set>

#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) { return HasModelType(c, "qwen2_moe"); }

// Which layers have experts: every decoder_sparse_step-th but those of mlp_only_layers.
std::vector<bool> SparseLayers(const Json& c, uint64_t n_layers, const std::string& where) {
  const uint64_t step = UintOr(c, "decoder_sparse_step", 1, 4096, where, 1);
  std::vector<bool> sparse(n_layers);
  for (uint64_t i = 0; i < n_layers; ++i) sparse[i] = (i + 1) % step == 0;
  if (!HasOption(c, "mlp_only_layers")) return sparse;
  for (const Json& layer : GetArray(c, "mlp_only_layers", where)) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= n_layers) {
      throw Error(where + ": 'mlp_only_layers': expected numbers of layers, found " +
                  Quoted(layer.dump()));
    }
    sparse[layer.get<uint64_t>()] = false;
  }
  return sparse;
}

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  SetUpperWindows(c, where, &d);
  const std::vector<bool> sparse = SparseLayers(c, d.n_layers, where);
  ExpertsForm experts;
  ReadExperts(c, "num_experts", where, &experts);
  experts.normalize = BoolOr(c, "norm_topk_prob", false, where);
  experts.hidden_dim = GetUint(c, "moe_intermediate_size", 1, 1 << 22, where);
  const FfnForm shared = {
      .gate = "mlp.shared_expert.gate_proj",
      .up = "mlp.shared_expert.up_proj",
      .down = "mlp.shared_expert.down_proj",
      .word = "shared",
      .hidden_dim = GetUint(c, "shared_expert_intermediate_size", 1, 1 << 22, where)};
  const bool qkv_bias = BoolOr(c, "qkv_bias", true, where);
  const auto half = [=](Network& n, Network::Value x) {
    if (!sparse[n.layer()]) return FfnPart(n, x, d, {});
    const Network::Value routed = ExpertsPart(n, x, d, experts);
    const Network::Value logit = n.SmallLinear(x, "shared_router", "mlp.shared_expert_gate", 1);
    return n.Add(routed, n.Gate(FfnPart(n, x, d, shared), logit));
  };
  ImportPlan plan = DecoderPlan("qwen2_moe", d, c, "qwen2", where,
                                LlamaLikeNetwork(d, {.qkv_bias = qkv_bias}, half));
  plan.config["n_experts"] = experts.n;
  return plan;
}

// Qwen1.5-MoE-A2.7B.
constexpr char kQwenMoe[] = R"({
  "model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632,
  "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16,
  "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
  "shared_expert_intermediate_size": 5632, "norm_topk_prob": false, "vocab_size": 151936,
  "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
  "hidden_act": "silu", "tie_word_embeddings": false, "eos_token_id": 151643
})";

}  // namespace

extern const Architecture kQwen2Moe;
const Architecture kQwen2Moe = {
    "qwen2_moe", Accepts, Plan, {{"qwen1.5-moe-a2.7b", kQwenMoe}},
    {{.architecture = "qwen2moe",
     .keys = {{"expert_count", "num_experts"},
              {"expert_used_count", "num_experts_per_tok"},
              {"expert_feed_forward_length", "moe_intermediate_size"},
              {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"}},
     .names = {{"mlp.gate", "ffn_gate_inp"},
               {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
               {"mlp.experts.*.up_proj", "ffn_up_exps"},
               {"mlp.experts.*.down_proj", "ffn_down_exps"},
               {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
               {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
               {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
               {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"}},
     .adapt = [](Json* c) { (*c)["model_type"] = "qwen2_moe"; }}}};

}  // namespace glint
