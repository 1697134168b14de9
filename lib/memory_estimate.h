#pragma once
#include <cstdint>
#include <span>

#include "lib/session.h"

// How much memory a session takes, told by the code that lays it out and without taking any.
namespace glint {

// Bytes, when the context is full; until then less of the cache is resident.
struct MemoryEstimate {
  uint64_t cache = 0;                  // also a prefix's entries
  uint64_t cache_without_windows = 0;  // what it would be if every layer held the whole context
  uint64_t activations = 0;            // of the plans for prompts and for batches, adapters too
  uint64_t rope_tables = 0;            // cos and sin of every position
  uint64_t rows = 0;                   // ids, positions, a row of logits
  uint64_t Total() const { return cache + activations + rope_tables + rows; }
};

// `adapters`: that it will be given (Session::SetAdapters). Throws Error for a context or cache
// that cannot exist, or adapters that do not go together, as the session does.
MemoryEstimate EstimateMemory(const Model& model, const SessionOptions& options,
                              std::span<const AdapterUse> adapters = {});

// The longest context, in whole hundreds of tokens, that these options can have within so many
// bytes; at most theirs. 0: none.
size_t LongestContext(const Model& model, const SessionOptions& options, uint64_t bytes,
                      std::span<const AdapterUse> adapters = {});

// Throws Error, with figures and ways out, if the session cannot be filled within `free` bytes. One
// that takes no more than kAlwaysFits is never refused.
inline constexpr uint64_t kAlwaysFits = uint64_t{64} << 20;
void CheckMemory(const Model& model, const SessionOptions& options, uint64_t free,
                 std::span<const AdapterUse> adapters = {});

}  // namespace glint
