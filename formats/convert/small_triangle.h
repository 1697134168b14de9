#pragma once
#include <cstddef>
#include <vector>

namespace glint {

// The lower triangle of a small symmetric matrix, in double: what these steps lose, all that comes
// after them loses.
class SmallTriangle {
 public:
  SmallTriangle(const float* from /* (n, stride) */, size_t stride, size_t n);
  void Store(float* to /* (n, stride), the lower triangle */, size_t stride) const;

  // A = S^T S: S takes A's place. False if a pivot is not a positive number.
  bool Decompose();
  // A = A^-1, A a triangle.
  void Invert();
  // Divides each column by its diagonal element, and gives the inverse squares of those.
  void Normalize(float* inverse_squares /* (n) */);

 private:
  size_t n_;
  std::vector<double> a_;
};

}  // namespace glint
