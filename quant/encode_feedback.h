#pragma once
#include "quant/codebook.h"

// The inner step of GPTQ (Frantar et al. 2022, "GPTQ", algorithm 1): a block of columns of 16 rows
// is rounded column by column, and what a column's rounding loses is made good by the later ones.
// Pure functions, like those of codebook.h.
namespace glint {

struct FeedbackBlock {
  size_t n;  // columns, 1 to kLargestBlock
  // (n, stride): column k takes over factor[k][j] of the error of each column j < k.
  const float* factor;
  size_t stride;
  const float* weights;  // (n): what the square of a column's error costs
};

// Numbers of 16 rows; a row that is missing is all zero.
struct FeedbackRows {
  const float* values;  // (n, stride), 16 of stride used
  size_t stride;
  const float* row_scales;  // (16)
  const float* near;        // (16) integer scales next to which to look, or null: anywhere
};

struct FeedbackResult {
  float scales[kTileRows];                   // integers, -127 to 127
  uint8_t codes[kLargestBlock * kTileRows];  // (n, 16)
  float errors[kLargestBlock * kTileRows];   // (n, 16): value - rounded value, each in its turn
  float costs[kTileRows];                    // sum of weights * errors^2
};

// Chooses each row's integer scale, and with its sign the orientation of the codebook, by rounding
// the block with many of them. A rounded value is f32(Value(code) * scale) * row_scale.
void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    FeedbackResult* result);

// What the rows' scales would best be multiplied by, if this block with these codes and integer
// scales were all that counts; 1 where nothing can be said.
void FitRowScales(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                  const FeedbackResult& result, float* factors /* (16) */);

// What a given rounding costs: value - rounded value of each column, with nothing made good.
void FeedbackCosts(const FeedbackBlock& block, const float* differences /* (n, 16) */,
                   float* costs /* (16) */);

}  // namespace glint
