#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/tensor.h"

namespace glint {

// What a rotary embedding depends on (lib/ops/rope.cc says what the attributes mean).
struct RopeSpec {
  std::string inv_freq;          // name of the frequencies' tensor
  double scale = 1;              // cos and sin are multiplied by it
  int64_t original_context = 0;  // 0: the frequencies do not depend on the context
  double dynamic_factor = 0;     // 0: the tensor has the frequencies of longer contexts
  size_t context = 0;            // of the session
  auto operator<=>(const RopeSpec&) const = default;

  // Whether the tensor holds two lists of frequencies, one behind the other.
  bool HasTwoLists() const { return original_context != 0 && dynamic_factor == 0; }
};

// cos and sin of position * frequency, times the scale, for every position of the context.
struct RopeTable {
  size_t n_freq = 0;
  std::vector<float> cosines, sines;  // (positions, n_freq)
  uint64_t bytes = 0;                 // of both, also where a plan of sizes has left them out
};
// Plans of one session share them.
using RopeTables = std::map<RopeSpec, std::unique_ptr<RopeTable>>;

// The frequencies in radians per position that a session of this context uses, (n_freq). `tensor`
// is f32 (n_freq), or (2 * n_freq) where the spec has two lists.
std::vector<float> RopeFrequencies(const RopeSpec& spec, const Tensor& tensor);

// Positions 0 to context, both included. Throws Error if a frequency is not sensible or the table
// would be too large. With `sizes_only` the table stays empty.
RopeTable MakeRopeTable(const RopeSpec& spec, const Tensor& tensor, bool sizes_only = false);

}  // namespace glint
