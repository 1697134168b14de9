#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

// The judge of the decoder architectures: a plain implementation in double, written from the
// published modelling code and from nothing of this project. One position at a time, no cache, no
// blocks, no tricks; its tests hold it against outputs of the published code.
//
// Sources, all of huggingface/transformers, src/transformers/models unless said otherwise:
//   llama/modeling_llama.py, mistral/modeling_mistral.py, qwen2/modeling_qwen2.py,
//   qwen3/modeling_qwen3.py, phi3/modular_phi3.py, gemma2/modular_gemma2.py,
//   mixtral/modeling_mixtral.py, qwen2_moe/modular_qwen2_moe.py, glm/modular_glm.py,
//   glm4/modular_glm4.py; chatglm: modeling_chatglm.py of THUDM/chatglm2-6b, chatglm3-6b and
//   glm-4-9b; ropes: src/transformers/modeling_rope_utils.py.
namespace glint::test {

struct PlainTensor {
  std::vector<size_t> shape;  // outermost first
  std::vector<float> values;  // row-major
};

// By the names that the architecture's Hugging Face checkpoints use; fused matrices stay fused.
using TensorMap = std::map<std::string, PlainTensor>;

// A P-Tuning v2 prefix as THUDM's encoder gives it (get_prompt of modeling_chatglm.py of
// THUDM/chatglm2-6b): a row per entry; in a row each layer's key heads, then its value heads. The keys
// are used as they are, without rotation, and every token sees all entries.
struct PlainPrefix {
  size_t length = 0;
  std::vector<float> rows{};  // (length, layers * 2 * kv_heads * head_dim)
};

// The logits (n_ids, vocab) of a checkpoint whose config.json is `config`. `context`: the length
// that decides the frequencies of dynamic and longrope scaling; 0: the number of ids, as the
// published code does for a prompt. Throws std::runtime_error, or json's exceptions: a model_type
// or a setting that is not known, a tensor that is missing, of another shape, or left over.
std::vector<double> PlainLogits(const nlohmann::json& config, const TensorMap& tensors,
                                std::span<const int32_t> ids, size_t context = 0,
                                const PlainPrefix* prefix = nullptr);

}  // namespace glint::test
