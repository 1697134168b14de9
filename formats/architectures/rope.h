#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glint {

// A rotary embedding as op "rope" has it (lib/ops/rope.cc).
struct RopeForm {
  std::vector<float> inv_freq;    // (n); of longrope (2 n): for short contexts, then for long ones
  bool interleaved = false;       // pairs (2 i, 2 i + 1) of a head, instead of (i, i + n)
  double scale = 1;               // of cos and sin
  uint64_t original_context = 0;  // beyond it: the second frequencies, or dynamic_factor
  double dynamic_factor = 0;
};

// base^(-2i/dim) for i < dim / 2, by our own functions, so that every machine makes the same file.
std::vector<float> RotaryFrequencies(double base, uint64_t dim);

// The rotary embedding of a Hugging Face config.json: `rope_theta` and `rope_scaling` (or
// `rope_parameters`), with which `dim` elements of each head are turned. Throws Error naming a type
// that is not known, or a member that is missing or of no use.
RopeForm ReadRope(const nlohmann::json& config, uint64_t dim, uint64_t max_seq_len,
                  const std::string& where);

}  // namespace glint
