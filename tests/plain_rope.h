#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <vector>

// Rotary positions of tests/plain_decoder.h. Sources: transformers' modeling_rope_utils.py
// (_compute_*_parameters) and apply_rotary_pos_emb of each model; RotaryEmbedding and
// apply_rotary_pos_emb of THUDM's modeling_chatglm.py.
namespace glint::test {

struct PlainRope {
  std::vector<float> inv_freq;  // of each pair; the elements beyond 2 * size() of a head stay
  double scale = 1;             // of cos and sin ("attention_factor")
  bool interleaved = false;     // pairs (2i, 2i + 1), else (i, i + size())
};

// Elements of a head.
size_t PlainHeadDim(const nlohmann::json& config);

PlainRope PlainRopeOf(const nlohmann::json& config, size_t context);

// Turns the head (head_dim) of the token at `position`.
void Rotate(const PlainRope& rope, size_t position, double* head);

}  // namespace glint::test
