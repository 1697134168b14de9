#include "formats/convert/small_triangle.h"

#include <algorithm>
#include <cmath>

namespace glint {

SmallTriangle::SmallTriangle(const float* from, size_t stride, size_t n) : n_(n), a_(n * n) {
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) a_[i * n + j] = from[i * stride + j];
  }
}

void SmallTriangle::Store(float* to, size_t stride) const {
  for (size_t i = 0; i < n_; ++i) {
    for (size_t j = 0; j <= i; ++j) to[i * stride + j] = static_cast<float>(a_[i * n_ + j]);
  }
}

// From the last row to the first: a finished row is taken off all rows before it.
bool SmallTriangle::Decompose() {
  for (size_t r = n_; r-- > 0;) {
    double* const row = &a_[r * n_];
    if (!(row[r] > 0) || !std::isfinite(row[r])) return false;
    const double root = std::sqrt(row[r]);
    for (size_t c = 0; c < r; ++c) row[c] /= root;
    row[r] = root;
    for (size_t i = 0; i < r; ++i) {
      double* const to = &a_[i * n_];
      const double factor = row[i];
      for (size_t j = 0; j <= i; ++j) to[j] -= factor * row[j];
    }
  }
  return true;
}

// Row i of the inverse needs the rows before it, which are inverted by then.
void SmallTriangle::Invert() {
  std::vector<double> sum(n_);
  for (size_t i = 0; i < n_; ++i) {
    double* const row = &a_[i * n_];
    const double inverse = 1 / row[i];
    std::fill_n(sum.begin(), i, 0.0);
    for (size_t m = 0; m < i; ++m) {
      for (size_t j = 0; j <= m; ++j) sum[j] += row[m] * a_[m * n_ + j];
    }
    for (size_t j = 0; j < i; ++j) row[j] = -inverse * sum[j];
    row[i] = inverse;
  }
}

void SmallTriangle::Normalize(float* inverse_squares) {
  for (size_t j = 0; j < n_; ++j) {
    const double inverse = 1 / a_[j * n_ + j];
    inverse_squares[j] = static_cast<float>(inverse * inverse);
    for (size_t i = j; i < n_; ++i) a_[i * n_ + j] *= inverse;
  }
}

}  // namespace glint
