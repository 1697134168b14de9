#include "formats/convert/blas.h"

#include <cblas.h>

namespace glint {
namespace {

blasint Int(size_t n) {
  return static_cast<blasint>(n);
}

}  // namespace

bool BlasAvailable() {
  return true;
}

const char* BlasKernelName() {
  return openblas_get_corename();
}

void RequireBlas() {
  openblas_set_num_threads(1);
}

void AddProduct(size_t m, size_t n, size_t k, float scale, const float* a, size_t a_stride,
                const float* b, size_t b_stride, float* c, size_t c_stride) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, Int(m), Int(n), Int(k), scale, a,
              Int(a_stride), b, Int(b_stride), 1.0f, c, Int(c_stride));
}

void AddTransposedProduct(size_t m, size_t n, size_t k, float scale, const float* a,
                          size_t a_stride, const float* b, size_t b_stride, float* c,
                          size_t c_stride) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, Int(m), Int(n), Int(k), scale, a,
              Int(a_stride), b, Int(b_stride), 1.0f, c, Int(c_stride));
}

void AddGram(Triangle triangle, size_t n, size_t k, float scale, const float* a, size_t a_stride,
             float* c, size_t c_stride) {
  cblas_ssyrk(CblasRowMajor, triangle == Triangle::kLower ? CblasLower : CblasUpper, CblasTrans,
              Int(n), Int(k), scale, a, Int(a_stride), 1.0f, c, Int(c_stride));
}

void SolveTransposed(size_t m, size_t n, const float* l, size_t l_stride, float* b,
                     size_t b_stride) {
  cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, Int(m), Int(n), 1.0f,
              l, Int(l_stride), b, Int(b_stride));
}

void SolveFromRight(size_t m, size_t n, float scale, const float* l, size_t l_stride, float* b,
                    size_t b_stride) {
  cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, Int(m), Int(n),
              scale, l, Int(l_stride), b, Int(b_stride));
}

void MultiplyTriangle(size_t m, size_t n, const float* l, size_t l_stride, float* b,
                      size_t b_stride) {
  cblas_strmm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, Int(m), Int(n),
              1.0f, l, Int(l_stride), b, Int(b_stride));
}

}  // namespace glint
