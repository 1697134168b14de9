#include "formats/convert/hessian.h"

#include <algorithm>

#include "formats/convert/blas.h"
#include "lib/error.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

constexpr size_t kTile = 512;
constexpr size_t kLargestN = 1 << 17;  // keeps every product of sizes within range

// A row's elements and one more, in whole cache lines; an odd number of them, so that the rows of a
// tile do not fall onto each other in the caches.
size_t StrideOf(size_t n) {
  return ((n + 1 + 15) / 16 | 1) * 16;
}

// The tile'th pair i <= j in order of i, then j.
struct TilePair {
  size_t i, j;
};
TilePair PairAt(size_t tile, size_t n_tiles) {
  size_t i = 0;
  while (tile >= n_tiles - i) tile -= n_tiles - i++;
  return {i, i + tile};
}

}  // namespace

Hessian::Hessian(size_t n) : n_(n), stride_(StrideOf(n)), bytes_(uint64_t{n} * stride_ * 4) {
  RequireBlas();
  if (n == 0 || n > kLargestN) {
    throw Error("a Hessian of " + std::to_string(n) + " inputs: expected 1 to " +
                std::to_string(kLargestN));
  }
  data_ = reinterpret_cast<float*>(ReservePages(bytes_));
  if (!data_) {
    throw Error("no memory for a Hessian of " + std::to_string(n) + " inputs (" +
                std::to_string(bytes_ >> 20) + " MiB)");
  }
}

Hessian::~Hessian() {
  ReleasePages(reinterpret_cast<uint8_t*>(data_), bytes_);
}

void Hessian::Add(const float* x, size_t stride, size_t n_tokens, ThreadPool& pool) {
  const size_t n_tiles = (n_ + kTile - 1) / kTile;
  pool.Run(n_tiles * (n_tiles + 1) / 2, [&](size_t task, size_t) {
    const TilePair at = PairAt(task, n_tiles);
    const size_t i = at.i * kTile, j = at.j * kTile;
    const size_t rows = std::min(kTile, n_ - i), cols = std::min(kTile, n_ - j);
    float* const h = data_ + i * stride_ + j + 1;
    if (i == j) {
      AddGram(Triangle::kUpper, rows, n_tokens, 1.0f, x + i, stride, h, stride_);
    } else {
      AddTransposedProduct(rows, cols, n_tokens, 1.0f, x + i, stride, x + j, stride, h, stride_);
    }
  });
  n_tokens_ += n_tokens;
}

}  // namespace glint
