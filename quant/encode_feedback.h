#pragma once
#include "quant/encode_tile.h"

// The inner step of GPTQ (Frantar et al. 2022, algorithm 1): a block of columns of 16 rows is rounded
// column by column, and each column's error is taken off the later ones of the block.
namespace glint {

struct FeedbackBlock {
  size_t n;              // columns, 1 to kLargestFeedbackBlock
  const float* factor;   // (n, stride): [k][j], j < k: how much of column j's error column k takes over
  size_t stride;
  const float* weights;  // (n): what a column's squared error costs, once later columns are adapted
};
inline constexpr size_t kLargestFeedbackBlock = 32;

// One row per lane; a missing row is all zero.
struct FeedbackRows {
  const float* values;      // (n, stride) of which 16 are used: the weights as they are by now
  size_t stride;
  const float* row_scales;  // (16)
};

struct FeedbackResult {
  float scales[kTileRows];                              // integers of the block, -127 to 127
  uint8_t codes[kLargestFeedbackBlock * kTileRows];     // (n, 16)
  double cost;                                          // sum of weights * errors^2
};

// Chooses the integer scale (and orientation) of each row by trying out some of them, rounding the block
// with each, and keeps what costs least. errors (n, errors_stride), 16 used: value - rounded
// value of each column, when its turn has come.
void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    float* errors, size_t errors_stride, FeedbackResult* result);

}  // namespace glint
