#include "lib/rope_table.h"

#include "lib/checked_math.h"
#include "lib/error.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

// 1 GiB of cos and sin: a million positions of 128 frequencies.
constexpr uint64_t kMaxRopeEntries = uint64_t{1} << 27;
// The highest frequency is 1 as published; scaled ones may be a little above, where a longrope factor
// is below 1.
constexpr float kMaxFrequency = 4;

}  // namespace

std::vector<float> RopeFrequencies(const RopeSpec& spec, const Tensor& tensor) {
  const size_t n = spec.HasTwoLists() ? tensor.shape[0] / 2 : tensor.shape[0];
  const auto original = static_cast<uint64_t>(spec.original_context);
  const bool is_longer = original != 0 && spec.context > original;
  const float* list = tensor.As<float>() + (is_longer && spec.HasTwoLists() ? n : 0);
  std::vector<float> frequencies(list, list + n);
  if (!is_longer || spec.HasTwoLists()) return frequencies;
  // The base grows by r^(d / (d - 2)), d = 2n, and frequency i is base^(-2i / d).
  const double ratio = static_cast<double>(spec.context) / static_cast<double>(original);
  const double log_r = LogD(spec.dynamic_factor * ratio - (spec.dynamic_factor - 1));
  for (size_t i = 0; i < n; ++i) {
    const double exponent = -static_cast<double>(i) / static_cast<double>(n - 1);
    frequencies[i] = static_cast<float>(frequencies[i] * ExpD(exponent * log_r));
  }
  return frequencies;
}

RopeTable MakeRopeTable(const RopeSpec& spec, const Tensor& tensor, bool sizes_only) {
  RopeTable table;
  table.n_freq = spec.HasTwoLists() ? tensor.shape[0] / 2 : tensor.shape[0];
  const size_t positions = spec.context + 1;
  const uint64_t entries = CheckedTimes(positions, table.n_freq, "rotary table");
  if (entries > kMaxRopeEntries) {
    throw Error("a context of " + std::to_string(spec.context) + " tokens needs " +
                std::to_string(entries) + " rotary angles; the limit is " +
                std::to_string(kMaxRopeEntries));
  }
  table.bytes = 2 * entries * sizeof(float);
  if (sizes_only) return table;
  const std::vector<float> frequencies = RopeFrequencies(spec, tensor);
  table.cosines.resize(entries);
  table.sines.resize(entries);
  const auto scale = static_cast<float>(spec.scale);
  for (size_t i = 0; i < table.n_freq; ++i) {
    const float frequency = frequencies[i];
    if (!(frequency >= 0 && frequency <= kMaxFrequency)) {
      throw Error("tensor " + Quoted(spec.inv_freq) + ": frequency " + std::to_string(i) +
                  ": expected 0 to " + std::to_string(kMaxFrequency) + ", found " +
                  std::to_string(frequency));
    }
    for (size_t p = 0; p < positions; ++p) {
      // The published code multiplies in f32, takes cos and sin of the rounded product, and scales
      // these as floats.
      const float angle = static_cast<float>(p) * frequency;
      table.cosines[p * table.n_freq + i] = static_cast<float>(CosD(angle)) * scale;
      table.sines[p * table.n_freq + i] = static_cast<float>(SinD(angle)) * scale;
    }
  }
  return table;
}

}  // namespace glint
