#include "simd/kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {

void AddScaled(const float* a, const float* b, float alpha, float* y, size_t n) {
  const auto factor = hn::Set(F32(), alpha);
  for (size_t i = 0; i < n; i += kLanes) {
    StoreUpTo(hn::MulAdd(factor, LoadUpTo(a + i, n - i), LoadUpTo(b + i, n - i)), y + i, n - i);
  }
}

void Multiply(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    StoreUpTo(hn::Mul(LoadUpTo(a + i, n - i), LoadUpTo(b + i, n - i)), y + i, n - i);
  }
}

void GeluTanh(const float* x, float* y, size_t n) {
  const F32 d;
  const auto cubic = hn::Set(d, kGeluCubic), linear = hn::Set(d, kGeluLinear);
  for (size_t i = 0; i < n; i += kLanes) {
    const auto v = LoadUpTo(x + i, n - i);
    const auto exponent = hn::Mul(v, hn::MulAdd(hn::Mul(v, v), cubic, linear));
    StoreUpTo(hn::Div(v, hn::Add(hn::Set(d, 1.0f), Exp(exponent))), y + i, n - i);
  }
}

void Silu(const float* x, float* y, size_t n) {
  const auto one = hn::Set(F32(), 1.0f);
  for (size_t i = 0; i < n; i += kLanes) {
    const auto v = LoadUpTo(x + i, n - i);
    StoreUpTo(hn::Div(v, hn::Add(one, Exp(hn::Neg(v)))), y + i, n - i);
  }
}

void Scale(const float* x, float factor, float* y, size_t n) {
  const auto factors = hn::Set(F32(), factor);
  for (size_t i = 0; i < n; i += kLanes) {
    StoreUpTo(hn::Mul(factors, LoadUpTo(x + i, n - i)), y + i, n - i);
  }
}

void Softcap(const float* x, float cap, float* y, size_t n) {
  const auto caps = hn::Set(F32(), cap);
  for (size_t i = 0; i < n; i += kLanes) {
    StoreUpTo(CapSoftly(LoadUpTo(x + i, n - i), caps), y + i, n - i);
  }
}

void RopeNeox(float* base, size_t stride, size_t heads, size_t half, const float* cosines,
              const float* sines) {
  for (size_t i = 0; i < half; i += kLanes) {
    const auto c = LoadUpTo(cosines + i, half - i), s = LoadUpTo(sines + i, half - i);
    for (size_t h = 0; h < heads; ++h) {
      float* x = base + h * stride + i;
      const auto first = LoadUpTo(x, half - i), second = LoadUpTo(x + half, half - i);
      StoreUpTo(hn::MulAdd(first, c, hn::Neg(hn::Mul(second, s))), x, half - i);
      StoreUpTo(hn::MulAdd(second, c, hn::Mul(first, s)), x + half, half - i);
    }
  }
}

// A vector holds whole pairs: y = fma(x, (c, c), (x1, x0) * (-s, s)).
void RopeInterleaved(float* base, size_t stride, size_t heads, size_t half, const float* cosines,
                     const float* sines) {
  const F32 d;
  HWY_ALIGN float c[2 * kLanes], s[2 * kLanes];
  for (size_t i = 0; i < half; i += kLanes) {
    const size_t n = 2 * HWY_MIN(half - i, kLanes);
    for (size_t j = 0; j < n; ++j) {
      c[j] = cosines[i + j / 2];
      s[j] = j % 2 == 0 ? -sines[i + j / 2] : sines[i + j / 2];
    }
    for (size_t h = 0; h < heads; ++h) {
      for (size_t j = 0; j < n; j += kLanes) {
        float* to = base + h * stride + 2 * i + j;
        const auto x = LoadUpTo(to, n - j);
        const auto turned = hn::Mul(hn::Reverse2(d, x), hn::Load(d, s + j));
        StoreUpTo(hn::MulAdd(x, hn::Load(d, c + j), turned), to, n - j);
      }
    }
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
