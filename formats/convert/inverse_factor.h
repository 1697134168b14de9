#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "formats/convert/hessian.h"
#include "lib/thread_pool.h"

namespace glint {

// Damping adds to each element of the diagonal this share of itself: damping + sampling * inputs /
// tokens. The second part is for what a sample of tokens makes inputs seem to have in common by
// chance (docs/QUANT.md has the measurement).
struct FactorOptions {
  double damping = 0.01;
  double sampling = 0.7;
  bool order = true;  // walk the columns from the largest diagonal down, else as they lie
};

// H^-1 = M D M^T, M lower with a diagonal of 1, D diagonal, for the damped H in the order of the
// walk. If e[j] is the rounding error of column j, made when the columns before had been rounded,
// then it is made good as well as it can be by taking M[k][j] e[j] off each later column k, and the
// error dW H dW^T of the whole row is the sum of e[j]^2 / D[j].
//
// It is found from the Cholesky factor of H with rows and columns reversed: H = S^T S with S lower,
// M = S^-1 with its columns divided by its diagonal. All of it happens in the lower triangle of
// the Hessian's array, by fixed blocks: the bits do not depend on the number of threads.
class InverseFactor {
 public:
  // Uses the array of `hessian`, which must outlive this, be added to no more, and have one factor
  // at a time. An input that was always 0 has the damping alone, as much as an average input has.
  // Throws Error, beginning with `name`, if the Hessian is not finite; if it is not positive
  // definite, ten times the damping is tried, until that exceeds the diagonal.
  InverseFactor(Hessian& hessian, const FactorOptions& options, const std::string& name,
                ThreadPool& pool);

  const Hessian& hessian() const { return hessian_; }
  size_t n() const { return hessian_.n(); }
  // The column of the matrix that is walked as the i'th. Columns of a block of 32 stay together,
  // and of its halves of 16, so that the walk ends one block before it begins the next.
  uint32_t Column(size_t i) const { return order_[i]; }
  // M[i][j] at [j], for j < i.
  const float* Row(size_t i) const { return hessian_.data_ + i * stride(); }
  size_t stride() const { return hessian_.stride_; }
  const float* weights() const { return weights_.data(); }  // (n) 1 / D, in the order of the walk
  // What was added to the diagonal, by column, and the share of it that this was.
  float Damping(size_t column) const { return damping_[column]; }
  double damping_share() const { return damping_share_; }

 private:
  void ChooseOrder(bool by_size);
  void Gather(ThreadPool& pool);
  bool Decompose(ThreadPool& pool);
  void Invert(ThreadPool& pool);
  void Normalize(ThreadPool& pool);
  float* At(size_t i, size_t j) { return hessian_.data_ + i * hessian_.stride_ + j; }

  Hessian& hessian_;
  std::vector<uint32_t> order_;
  std::vector<float> weights_;
  std::vector<float> damping_;
  double damping_share_ = 0;
};

}  // namespace glint
