#include "lib/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/fp_mode.h"
#include "simd/scalar_math.h"

namespace glint {

Sampler::Sampler(const SamplerOptions& options, size_t n_logits)
    : options_(options),
      state_(options.seed),
      logits_(n_logits),
      candidates_(n_logits),
      weights_(n_logits) {}

// SplitMix64 (Steele, Lea and Flood 2014, figure 15); the top 53 bits as a fraction.
double Sampler::NextUniform() {
  state_ += 0x9E3779B97F4A7C15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

int32_t Sampler::Greedy(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best] || std::isnan(logits[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

int32_t Sampler::Sample(std::span<const float> logits, std::span<const int32_t> history) {
  const FpModeScope fp_mode;
  std::copy(logits.begin(), logits.end(), logits_.begin());
  if (options_.repetition_penalty != 1.0f) {
    for (const int32_t id : history) {
      if (static_cast<size_t>(id) >= logits_.size()) continue;
      // From the original each time: an id that occurred twice is not penalized twice.
      const float logit = logits[static_cast<size_t>(id)];
      logits_[static_cast<size_t>(id)] = logit < 0 ? logit * options_.repetition_penalty
                                                   : logit / options_.repetition_penalty;
    }
  }
  if (options_.temperature == 0) return Greedy(logits_);

  for (size_t i = 0; i < logits_.size(); ++i) {
    const float logit = logits_[i] / options_.temperature;
    // A nan has no place in an order, and sorting by one would be undefined.
    constexpr float kLeast = -std::numeric_limits<float>::infinity();
    candidates_[i] = {std::isnan(logit) ? kLeast : logit, static_cast<int32_t>(i)};
  }
  size_t n = logits_.size();
  if (options_.top_k != 0) n = std::min<size_t>(n, options_.top_k);
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(n),
                    candidates_.end(), [](const Candidate& a, const Candidate& b) {
                      return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
                    });
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    weights_[i] = ExpD(static_cast<double>(candidates_[i].logit) - candidates_[0].logit);
    sum += weights_[i];
  }
  // The smallest set whose probability reaches top_p; at least one token.
  double kept = weights_[0];
  size_t n_kept = 1;
  while (n_kept < n && kept < options_.top_p * sum) kept += weights_[n_kept++];

  double left = NextUniform() * kept;
  for (size_t i = 0; i + 1 < n_kept; ++i) {
    left -= weights_[i];
    if (left < 0) return candidates_[i].id;
  }
  return candidates_[n_kept - 1].id;
}

}  // namespace glint
