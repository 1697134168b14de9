#pragma once
#include <cstdint>
#include <vector>

#include "formats/convert/inverse_factor.h"
#include "quant/encode_feedback.h"

// What the two halves of GPTQ share: the walk over the columns (gptq.cc) and the sweeps after it
// (gptq_sweep.cc).
namespace glint {

inline constexpr size_t kBandRows = 128;  // rows of one task
inline constexpr size_t kGroupColumns =
    128;  // columns whose errors reach those after them together

// A block of columns with a scale of its own, as the walk meets it.
struct GptqBlock {
  size_t place;   // in the walk, of the first column met
  size_t column;  // the first one as the matrix lies
  size_t n;
};

// What is the same for all rows of a matrix.
struct GptqPlan {
  const MatrixLayout& layout;
  const InverseFactor& factor;
  Codebook book;
  std::vector<GptqBlock> blocks;  // in the order of the walk

  size_t n() const { return factor.n(); }
};

// One task's rows; all numbers are normalized by a power of two per row (NormalizerOf).
struct GptqBand {
  size_t n_rows = 0, width = 0;  // width: n_rows rounded up to tiles
  std::vector<float> rows;       // (n_rows, n), as read
  std::vector<float>
      values;               // (n, kBandRows): the walk's weights, in its order; later the sweeps' G
  std::vector<float> lost;  // (n, kBandRows): weight - rounded weight, by column
  std::vector<float> errors;   // (kGroupColumns, kBandRows)
  std::vector<uint8_t> codes;  // (n, kBandRows), by column
  std::vector<float> scales;   // (blocks, kBandRows), by column
  float factors[kBandRows], inverses[kBandRows], row_scales[kBandRows];
  double costs[kBandRows];  // dW H dW^T of the damped H

  float Weight(const GptqPlan& plan, size_t row, size_t column) const {
    return rows[row * plan.n() + column] * factors[row];
  }
  // The rows from `row` on take over a block's new rounding where it is `chosen` (16).
  void Keep(const GptqPlan& plan, const GptqBlock& block, size_t row, const FeedbackResult& result,
            const bool* chosen);
};

// H of each block by itself, damped, and its factor, all in the order of the walk.
class BlockFactors {
 public:
  explicit BlockFactors(const GptqPlan& plan);
  // The i'th of plan.blocks: (n, stride).
  const float* H(size_t i) const { return &h_[i * stride_ * stride_]; }
  FeedbackBlock Factor(const GptqPlan& plan, size_t i) const {
    return {plan.blocks[i].n, &m_[i * stride_ * stride_], stride_, &weights_[i * stride_]};
  }
  size_t stride() const { return stride_; }

 private:
  size_t stride_;
  std::vector<float> h_, m_, weights_;
};

// Chooses all blocks anew `sweeps` times.
void Sweep(const GptqPlan& plan, const BlockFactors& factors, size_t sweeps, GptqBand& band);

}  // namespace glint
