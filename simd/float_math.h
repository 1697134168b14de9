#pragma once

// Constants of the project's own float functions, shared by the scalar form (simd/scalar_math.cc)
// and the vector form (simd/kernels/exp-inl.h), which do the same operations in the same order and
// so give the same bits. docs/KERNELS.md has the error bounds.
namespace glint {

// exp(x): n = rint(x / ln 2) by adding and subtracting 1.5 * 2^23, r = x - n ln 2 in two steps, the
// Taylor polynomial of degree 7 in r by Horner's rule with fma, then times 2^n as two powers of
// two, so that the result overflows to inf and underflows through the denormals. x is clamped to
// [kExpLow, kExpHigh] first, beyond which the result is 0 or inf anyway; nan stays nan.
constexpr float kExpLow = -110.0f;
constexpr float kExpHigh = 100.0f;
constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kRoundMagic = 0x1.8p+23f;
constexpr float kLn2High = 0x1.62e400p-1f;  // 15 bits, so that n * kLn2High is exact
constexpr float kLn2Low = 0x1.7f7d1cp-20f;
constexpr float kExpTerms[8] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                                       1.0f / 6,    1.0f / 2,   1.0f,       1.0f};

// tanh(x) = sign(x) * |e / (e + 2)|, e = exp(u) - 1, u = -2 |x| not below kTanhLow, where tanh is 1
// as a float. e has its leading bits also near 0: with n and r as in exp, exp(r) - 1 =
// fma(p, r * r, r), p by Horner's rule with fma over the terms of exp down to that of r^2, and
// e = fma(exp(r) - 1, 2^n, 2^n - 1). nan stays nan.
constexpr float kTanhLow = -32.0f;

// gelu_tanh(x) = x / (1 + exp(x * fma(x * x, kGeluCubic, kGeluLinear))): the exponent is
// -2 sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kGeluLinear = -1.5957691216057308f;
constexpr float kGeluCubic = -1.5957691216057308f * 0.044715f;

}  // namespace glint
