// A build without OpenBLAS: RequireBlas says so, and nothing gets further.
#include "formats/convert/blas.h"
#include "lib/error.h"

namespace glint {

bool BlasAvailable() {
  return false;
}

const char* BlasKernelName() {
  return "";
}

void RequireBlas() {
  throw Error(
      "GPTQ needs OpenBLAS, which this build of glint was made without (meson -Dopenblas=enabled)");
}

void AddProduct(size_t, size_t, size_t, float, const float*, size_t, const float*, size_t, float*,
                size_t) {}
void AddTransposedProduct(size_t, size_t, size_t, float, const float*, size_t, const float*, size_t,
                          float*, size_t) {}
void AddGram(Triangle, size_t, size_t, float, const float*, size_t, float*, size_t) {}
void SolveTransposed(size_t, size_t, const float*, size_t, float*, size_t) {}
void SolveFromRight(size_t, size_t, float, const float*, size_t, float*, size_t) {}
void MultiplyTriangle(size_t, size_t, const float*, size_t, float*, size_t) {}

}  // namespace glint
