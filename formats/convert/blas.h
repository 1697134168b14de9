#pragma once
#include <cstddef>

// The four matrix products of GPTQ, by OpenBLAS where the build has it (meson option `openblas`).
// It is the only part of formats/convert that knows the library. Each call runs on the thread that
// makes it and calls may run at once: the caller's ThreadPool shares the work out in fixed tiles,
// so that a result does not depend on the number of threads. It may depend on the kernels that
// OpenBLAS chooses for the processor, which BlasKernelName() names. All matrices are f32,
// row-major, with a stride in elements; no output may overlap an input.
namespace glint {

bool BlasAvailable();

// OpenBLAS's name for the kernels in use ("SkylakeX", "Zen", ...); empty without OpenBLAS.
const char* BlasKernelName();

// To be called before the functions below: throws Error if the build has no OpenBLAS, and keeps
// OpenBLAS from starting threads of its own.
void RequireBlas();

// C (m, n) += scale * A B, A (m, k), B (k, n).
void AddProduct(size_t m, size_t n, size_t k, float scale, const float* a, size_t a_stride,
                const float* b, size_t b_stride, float* c, size_t c_stride);
// C (m, n) += scale * A^T B, A (k, m), B (k, n).
void AddTransposedProduct(size_t m, size_t n, size_t k, float scale, const float* a,
                          size_t a_stride, const float* b, size_t b_stride, float* c,
                          size_t c_stride);
// The same with A = B for the lower or the upper triangle of C (n, n); the other is left alone.
enum class Triangle { kLower, kUpper };
void AddGram(Triangle triangle, size_t n, size_t k, float scale, const float* a, size_t a_stride,
             float* c, size_t c_stride);
// B (m, n) = L^-T B, then B = scale * B L^-1 and B = L B, for the lower triangle L of (m, m), (n,
// n) and (m, m).
void SolveTransposed(size_t m, size_t n, const float* l, size_t l_stride, float* b,
                     size_t b_stride);
void SolveFromRight(size_t m, size_t n, float scale, const float* l, size_t l_stride, float* b,
                    size_t b_stride);
void MultiplyTriangle(size_t m, size_t n, const float* l, size_t l_stride, float* b,
                      size_t b_stride);

}  // namespace glint
