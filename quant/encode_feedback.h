#pragma once
#include "quant/encode_tile.h"

// The inner step of GPTQ (Frantar et al. 2022, "GPTQ", algorithm 1): a block of columns of 16 rows is
// rounded column by column, and what a column's rounding loses is made good by the later ones.
namespace glint {

inline constexpr size_t kLargestFeedbackBlock = 32;

struct FeedbackBlock {
  size_t n;              // columns, 1 to kLargestFeedbackBlock
  const float* factor;   // (n, stride): column k takes over factor[k][j] of the error of column j < k
  size_t stride;
  const float* weights;  // (n): what the square of a column's error costs
};

// Numbers of 16 rows, one per lane; a row that is missing is all zero.
struct FeedbackRows {
  const float* values;      // (n, stride), 16 of stride used
  size_t stride;
  const float* row_scales;  // (16)
  const float* near;        // (16) integer scales next to which to look, or null: anywhere
};

struct FeedbackResult {
  float scales[kTileRows];  // integers, -127 to 127
  uint8_t codes[kLargestFeedbackBlock * kTileRows];  // (n, 16)
  float errors[kLargestFeedbackBlock * kTileRows];   // (n, 16): value - rounded value, in its turn
  float costs[kTileRows];                            // sum of weights * errors^2
};

// Chooses each row's integer scale, and with its sign the orientation of the table, by rounding the
// block with many of them. A value is f32(table[code] * scale) * row_scale.
void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    FeedbackResult* result);

// What a given rounding costs: value - rounded value of each column, without anything made good.
void FeedbackCosts(const FeedbackBlock& block, const float* differences /* (n, 16) */,
                   float* costs /* (16) */);

}  // namespace glint
