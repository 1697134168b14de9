#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "lib/thread_pool.h"

// What calibration tells about the inputs of a linear op, and the factor of it that GPTQ walks
// along (Frantar et al. 2022, "GPTQ", algorithm 1). docs/QUANT.md has the mathematics and the
// figures.
namespace glint {

// H = the sum over tokens of x x^T, x being an op's input: (n, n), f32. One square array in memory
// holds H in its upper triangle and later the factor in its lower one: n = 16384 takes 1.0 GiB.
// Not for several threads at once; each call shares its work out over the pool, in tiles whose
// results do not depend on the number of threads. They do depend on how tokens are cut into calls.
class Hessian {
 public:
  // H = 0. Throws Error if the build has no OpenBLAS or there is no memory.
  explicit Hessian(size_t n);
  ~Hessian();
  Hessian(const Hessian&) = delete;
  Hessian& operator=(const Hessian&) = delete;

  // Adds n_tokens inputs. Some hundred at a time are fast. Values that are not finite show later:
  // they make a diagonal element that is not.
  void Add(const float* x /* (n_tokens, stride), n used */, size_t stride, size_t n_tokens,
           ThreadPool& pool);

  size_t n() const { return n_; }
  uint64_t n_tokens() const { return n_tokens_; }
  // H[i][j]. The diagonal is the sum of squares of each input.
  float At(size_t i, size_t j) const { return i <= j ? Row(i)[j] : Row(j)[i]; }
  // H[i][j] at [j], for j >= i.
  const float* Row(size_t i) const { return data_ + i * stride_ + 1; }

 private:
  friend class InverseFactor;
  size_t n_, stride_;
  uint64_t n_tokens_ = 0;
  uint64_t bytes_;
  float*
      data_;  // (n, stride); H[i][j], j >= i, at [i][j + 1], so that both triangles have a diagonal
};

}  // namespace glint
