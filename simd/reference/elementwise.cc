#include <cmath>

#include "simd/float_math.h"
#include "simd/fma.h"
#include "simd/kernel_list.h"
#include "simd/reference/fold.h"
#include "simd/scalar_math.h"

namespace glint::reference {

void LayerNorm(const float* x, const float* weight, const float* bias, float* y, size_t n,
               float eps) {
  float sums[16] = {};
  for (size_t i = 0; i < n; ++i) sums[i % 16] += x[i];
  const float mean = Fold(sums) / static_cast<float>(n);
  float squares[16] = {};
  for (size_t i = 0; i < n; ++i) {
    squares[i % 16] = Fma(x[i] - mean, x[i] - mean, squares[i % 16]);
  }
  const float variance = Fold(squares) / static_cast<float>(n);
  const float r = 1.0f / std::sqrt(variance + eps);
  for (size_t i = 0; i < n; ++i) y[i] = Fma((x[i] - mean) * r, weight[i], bias[i]);
}

void RmsNorm(const float* x, const float* weight, float* y, size_t n, float eps) {
  float squares[16] = {};
  for (size_t i = 0; i < n; ++i) squares[i % 16] = Fma(x[i], x[i], squares[i % 16]);
  const float r = 1.0f / std::sqrt(Fold(squares) / static_cast<float>(n) + eps);
  for (size_t i = 0; i < n; ++i) y[i] = x[i] * r * weight[i];
}

void AddScaled(const float* a, const float* b, float alpha, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Fma(alpha, a[i], b[i]);
}

void Multiply(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}

void GeluTanh(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const float exponent = x[i] * Fma(x[i] * x[i], kGeluCubic, kGeluLinear);
    y[i] = x[i] / (1.0f + Exp(exponent));
  }
}

void Silu(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] / (1.0f + Exp(-x[i]));
}

void Scale(const float* x, float factor, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = factor * x[i];
}

void Softcap(const float* x, float cap, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = cap * Tanh(x[i] / cap);
}

void RopeNeox(float* base, size_t stride, size_t heads, size_t half, const float* cosines,
              const float* sines) {
  for (size_t h = 0; h < heads; ++h) {
    float* x = base + h * stride;
    for (size_t i = 0; i < half; ++i) {
      const float first = x[i], second = x[i + half];
      x[i] = Fma(first, cosines[i], -(second * sines[i]));
      x[i + half] = Fma(second, cosines[i], first * sines[i]);
    }
  }
}

void RopeInterleaved(float* base, size_t stride, size_t heads, size_t half, const float* cosines,
                     const float* sines) {
  for (size_t h = 0; h < heads; ++h) {
    for (size_t i = 0; i < half; ++i) {
      float* x = base + h * stride + 2 * i;
      const float first = x[0], second = x[1];
      x[0] = Fma(first, cosines[i], -(second * sines[i]));
      x[1] = Fma(second, cosines[i], first * sines[i]);
    }
  }
}

}  // namespace glint::reference
