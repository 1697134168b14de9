#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "lib/thread_pool.h"
#include "quant/layout.h"

namespace glint {

// How far a matrix is from the one that it was made of, over all elements. docs/QUANT.md has the
// formulas.
struct MatrixError {
  // Columns whose error is looked at together.
  static constexpr uint64_t kBlock = 32;

  double rmse = 0;      // root of the mean squared error
  double base_rms = 0;  // root mean square of the base's elements
  double relative = 0;  // rmse / base_rms; 0 where both are 0
  double cosine = 1;    // of the angle between both, as vectors
  // The block of kBlock columns of one row (fewer at its end) with the greatest error relative to
  // the base's numbers there, the first of several: infinite where the base is 0 and the matrix is
  // not.
  uint64_t worst_row = 0, worst_col = 0;
  double worst = 0;
};

// Rows [row, row + n_rows) of a matrix in f32, (n_rows, cols). Called from several threads. Throws
// Error.
using ReadMatrixRows = std::function<void(uint64_t row, uint64_t n_rows, float* out)>;

// Compares `matrix` with a base of the same shape. `column_scale` (null: all 1) multiplies the
// matrix's columns (cols). Needs memory for a few rows per thread; the sums have a fixed order, so
// no bit depends on threads. Throws Error beginning with `name` if a number of either is not
// finite, and what `read_base` throws.
MatrixError CompareMatrices(const MatrixView& matrix, const ReadMatrixRows& read_base,
                            const float* column_scale, ThreadPool& pool, const std::string& name);

}  // namespace glint
