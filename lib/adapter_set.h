#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lib/adapter.h"

namespace glint {

// What the adapters that a session is given come to.
struct AdapterSet {
  std::vector<AdapterUse> active;   // without those whose scale is 0
  LowRankMap low_rank;              // the changes of each matrix, in the order of the uses
  const Adapter* prefix = nullptr;  // at most one
  size_t prefix_length() const { return prefix ? prefix->prefix_length() : 0; }
};

// Throws Error for an adapter that is null or of another model, a scale that is not finite or makes
// one that is not, a second prefix, a prefix with another scale than 1 or 0.
AdapterSet MakeAdapterSet(std::span<const AdapterUse> uses, const Model& model);

// Bytes that an open adapter takes, however many sessions use it: its file (pages of it where it is
// mapped), and in private memory what was made of it (matrices whose columns carry a recipe's
// scales).
struct AdapterBytes {
  uint64_t file = 0;
  uint64_t made = 0;
};
AdapterBytes BytesOf(const Adapter& adapter);

}  // namespace glint
