#include "lib/matrix_error.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <vector>

#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

constexpr size_t kLanes = 8;
constexpr uint64_t kBandElements = 1 << 17;  // of a task, about

// Sums over some elements of a matrix and its base.
struct Sums {
  double error = 0, base = 0, matrix = 0, product = 0;  // squares; base * matrix

  void Add(const Sums& other) {
    error += other.error;
    base += other.base;
    matrix += other.matrix;
    product += other.product;
  }
};

double Folded(const double (&lanes)[kLanes]) {
  double sum = 0;
  for (const double x : lanes) sum += x;
  return sum;
}

// Sums of up to MatrixError::kBlock elements. Element i goes to lane i % kLanes; the lanes are
// added last.
Sums SumBlock(const float* base, const float* matrix, size_t n) {
  double error[kLanes] = {}, base2[kLanes] = {}, matrix2[kLanes] = {}, product[kLanes] = {};
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t m = std::min(kLanes, n - i);
    for (size_t l = 0; l < m; ++l) {
      const double x = base[i + l], y = matrix[i + l], d = y - x;
      error[l] += d * d;
      base2[l] += x * x;
      matrix2[l] += y * y;
      product[l] += x * y;
    }
  }
  return {Folded(error), Folded(base2), Folded(matrix2), Folded(product)};
}

double RelativeError(const Sums& sums) {
  return sums.error == 0 ? 0 : std::sqrt(sums.error / sums.base);
}

// What a task finds in its rows.
struct Band {
  Sums sums;
  uint64_t worst_row = 0, worst_col = 0;
  double worst = -1;
  std::exception_ptr failure;
};

class Comparison {
 public:
  Comparison(const MatrixView& matrix, const ReadMatrixRows& read_base, const float* column_scale,
             size_t threads, const std::string& name)
      : matrix_(matrix), read_base_(read_base), column_scale_(column_scale), name_(name) {
    const uint64_t rows = matrix.layout.rows, cols = matrix.layout.cols;
    // Whole tiles, since their rows lie together.
    band_rows_ = std::max<uint64_t>(1, kBandElements / cols / kTileRows) * kTileRows;
    band_rows_ = std::min(band_rows_, rows);
    bands_.resize((rows + band_rows_ - 1) / band_rows_);
    buffers_.resize(threads);
  }

  MatrixError Run(ThreadPool& pool) {
    const auto compare = [&](size_t task, size_t worker) {
      try {
        const FpModeScope fp_mode;
        buffers_[worker].resize((band_rows_ + 1) * matrix_.layout.cols);
        CompareBand(task * band_rows_, buffers_[worker].data(), &bands_[task]);
      } catch (...) {
        bands_[task].failure = std::current_exception();
      }
    };
    pool.Run(bands_.size(), compare);
    return Total();
  }

 private:
  void CompareBand(uint64_t begin, float* buffer, Band* band) const {
    const uint64_t cols = matrix_.layout.cols;
    const uint64_t n = std::min(band_rows_, matrix_.layout.rows - begin);
    float* const decoded = buffer + band_rows_ * cols;
    read_base_(begin, n, buffer);
    for (uint64_t row = begin; row < begin + n; ++row) {
      DecodeRow(matrix_, row, decoded);
      if (column_scale_) {
        for (uint64_t col = 0; col < cols; ++col) decoded[col] *= column_scale_[col];
      }
      const float* base = buffer + (row - begin) * cols;
      Sums sums;
      for (uint64_t col = 0; col < cols; col += MatrixError::kBlock) {
        const Sums block =
            SumBlock(base + col, decoded + col, std::min(MatrixError::kBlock, cols - col));
        sums.Add(block);
        const double relative = RelativeError(block);
        if (relative > band->worst) {
          band->worst = relative;
          band->worst_row = row;
          band->worst_col = col;
        }
      }
      CheckFinite(sums, row);
      band->sums.Add(sums);
    }
  }

  void CheckFinite(const Sums& sums, uint64_t row) const {
    const char* which = !std::isfinite(sums.base)     ? "the base"
                        : !std::isfinite(sums.matrix) ? "the matrix"
                                                      : nullptr;
    if (!which) return;
    throw Error(name_ + ": row " + std::to_string(row) + " of " + which +
                " has a number that is not finite");
  }

  MatrixError Total() const {
    Sums sums;
    const Band* worst = &bands_[0];
    for (const Band& band : bands_) {
      if (band.failure) std::rethrow_exception(band.failure);
      sums.Add(band.sums);
      if (band.worst > worst->worst) worst = &band;
    }
    MatrixError error;
    const double n =
        static_cast<double>(matrix_.layout.rows) * static_cast<double>(matrix_.layout.cols);
    error.rmse = std::sqrt(sums.error / n);
    error.base_rms = std::sqrt(sums.base / n);
    error.relative = RelativeError(sums);
    // Where both are 0 they are equal; where one is, the angle has no meaning and 0 says "nothing
    // alike".
    const double norms = std::sqrt(sums.base) * std::sqrt(sums.matrix);
    error.cosine = norms == 0 ? 0 : std::min(1.0, sums.product / norms);
    if (sums.error == 0) error.cosine = 1;
    error.worst_row = worst->worst_row;
    error.worst_col = worst->worst_col;
    error.worst = worst->worst;
    return error;
  }

  const MatrixView& matrix_;
  const ReadMatrixRows& read_base_;
  const float* column_scale_;
  const std::string& name_;
  uint64_t band_rows_ = 0;
  std::vector<Band> bands_;
  std::vector<std::vector<float>> buffers_;  // by worker: a band of the base, a row of the matrix
};

}  // namespace

MatrixError CompareMatrices(const MatrixView& matrix, const ReadMatrixRows& read_base,
                            const float* column_scale, ThreadPool& pool, const std::string& name) {
  return Comparison(matrix, read_base, column_scale, pool.size(), name).Run(pool);
}

}  // namespace glint
