#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "quant/layout.h"

namespace glint {

// A change of rows of a linear's matrix W (n, k): the rows from first_row on become those of
// W + scale * b . a (Hu et al. 2021, LoRA, section 4.1). W itself is not touched: the product is
// added to what W gives (lib/ops/low_rank.h). Views of memory that somebody else owns.
struct LowRank {
  MatrixView a;          // (r, k), of floats
  MatrixView b;          // (m, r), of floats
  size_t first_row = 0;  // a multiple of kTileRows
  float scale = 1;
};

// By the name of W: what is added, in this order.
using LowRankMap = std::map<std::string, std::vector<LowRank>>;

// Where a conversion has divided a norm's weight and bias by numbers s and multiplied the columns of the
// matrices behind it by them (recipes that calibrate), the model has a tensor of the name of the norm's
// weight and this ending: s, f32 (dim). What was trained on the original reads x / s there: it needs s.
inline constexpr char kFoldedEnding[] = ".folded";

}  // namespace glint
