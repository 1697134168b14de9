#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace glint {

struct SamplerOptions {
  float temperature = 0.95f;        // 0: greedy
  float top_p = 0.7f;               // (0, 1]: the smallest set of tokens with this probability
  uint32_t top_k = 50;              // 0: all
  float repetition_penalty = 1.0f;  // > 1 makes tokens that occurred less likely
  uint64_t seed = 0;
};

// Chooses tokens from logits, in the published order: repetition penalty, temperature, top-k, top-p
// (transformers: LogitsProcessorList, then LogitsWarper). Our own generator and sums in a fixed order:
// the same options, seed and logits give the same tokens everywhere. Ties go to the lower id.
class Sampler {
 public:
  Sampler(const SamplerOptions& options, size_t n_logits);

  // `history`: ids so far, for the repetition penalty; may be empty. Logits should be finite, as those of a
  // session are (Status::kNonFinite); a nan is never chosen while there is anything else.
  int32_t Sample(std::span<const float> logits, std::span<const int32_t> history);

  // Begins the random numbers anew.
  void SetSeed(uint64_t seed) { state_ = seed; }

  static int32_t Greedy(std::span<const float> logits);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  double NextUniform();  // [0, 1)

  SamplerOptions options_;
  uint64_t state_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace glint
