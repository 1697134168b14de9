// Mixtral (Jiang et al. 2024; transformers, modeling_mixtral.py): a Mistral whose feed-forward
// network is eight experts, two for each token.
#include "formats/architectures/decoder.h"
#include "formats/architectures/hf_options.h"
#include "formats/json.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool Accepts(const Json& c) { return HasModelType(c, "mixtral"); }

ImportPlan Plan(const Json& c, const Json&, const std::string& where) {
  RequireOption(c, "hidden_act", "silu", where);
  DecoderConfig d = ReadDecoderConfig(c, where);
  SetWindows(c, where, [](uint64_t) { return true; }, &d);
  ExpertsForm experts = {.router = "block_sparse_moe.gate",
                         .experts = "block_sparse_moe.experts",
                         .gate = "w1",
                         .up = "w3",
                         .down = "w2"};
  ReadExperts(c, "num_local_experts", where, &experts);
  experts.hidden_dim = d.hidden_dim;
  const auto half = [=](Network& n, Network::Value x) { return ExpertsPart(n, x, d, experts); };
  ImportPlan plan = DecoderPlan("mixtral", d, c, "llama", where,
                                LlamaLikeNetwork(d, {}, half));
  plan.config["n_experts"] = experts.n;
  return plan;
}

// Mixtral-8x7B-v0.1.
constexpr char kMixtral8x7b[] = R"({
  "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
  "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
  "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000,
  "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
  "sliding_window": null, "hidden_act": "silu", "tie_word_embeddings": false,
  "bos_token_id": 1, "eos_token_id": 2
})";

}  // namespace

extern const Architecture kMixtral;
const Architecture kMixtral = {
    "mixtral", Accepts, Plan, {{"mixtral-8x7b", kMixtral8x7b}},
    {{.architecture = "llama",
     .marker = "blk.0.ffn_gate_inp.weight",
     .keys = {{"expert_count", "num_local_experts"}, {"expert_used_count", "num_experts_per_tok"}},
     .names = {{"block_sparse_moe.gate", "ffn_gate_inp"},
               {"block_sparse_moe.experts.*.w1", "ffn_gate_exps"},
               {"block_sparse_moe.experts.*.w2", "ffn_down_exps"},
               {"block_sparse_moe.experts.*.w3", "ffn_up_exps"}},
     .permuted = true,
     .adapt = [](Json* c) { (*c)["model_type"] = "mixtral"; }}}};

}  // namespace glint
