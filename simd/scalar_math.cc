#include "simd/scalar_math.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "simd/float_math.h"
#include "simd/fma.h"

namespace glint {
namespace {

// 2^n for a normal result.
float PowerOfTwo(int32_t n) {
  return std::bit_cast<float>((n + 127) << 23);
}
double PowerOfTwoD(int64_t n) {
  return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

// rint(x) for |x| < 2^51, without the library's choice of instruction.
double Round(double x) {
  constexpr double kMagic = 0x1.8p+52;
  return x + kMagic - kMagic;
}

// ln 2 and pi / 2 in parts with so many trailing zero bits that a product with a small integer is
// exact.
constexpr double kLn2D[2] = {0x1.62e42fee00000p-1, 0x1.a39ef35793c76p-33};
constexpr double kHalfPi[3] = {0x1.921fb54400000p+0, 0x1.0b4611a600000p-34, 0x1.3198a2e037073p-69};

// Taylor polynomials, good to 1e-17 on [-pi/4, pi/4].
double SinTaylor(double r) {
  const double z = r * r;
  double sum = 0;
  for (int n = 18; n >= 2; n -= 2) sum = (sum + 1) * -z / (n * (n + 1));
  return r + r * sum;
}
double CosTaylor(double r) {
  const double z = r * r;
  double sum = 0;
  for (int n = 19; n >= 3; n -= 2) sum = (sum + 1) * -z / (n * (n + 1));
  return 1 - (z / 2 + sum * z / 2);
}

// sin(x + quarter * pi / 2).
double SinQuarter(double x, int64_t quarter) {
  const double n = Round(x * 0.63661977236758134308);
  const double r = ((x - n * kHalfPi[0]) - n * kHalfPi[1]) - n * kHalfPi[2];
  const int64_t q = (static_cast<int64_t>(n) + quarter) & 3;
  const double value = (q & 1) ? CosTaylor(r) : SinTaylor(r);
  return (q & 2) ? -value : value;
}

}  // namespace

float Exp(float x) {
  if (x != x) return x;
  float clamped = x < kExpLow ? kExpLow : x;
  clamped = clamped > kExpHigh ? kExpHigh : clamped;
  const float shifted = Fma(clamped, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  float r = Fma(n, -kLn2High, clamped);
  r = Fma(n, -kLn2Low, r);
  float p = kExpTerms[0];
  for (int i = 1; i < 8; ++i) p = Fma(p, r, kExpTerms[i]);
  const int32_t whole = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRoundMagic);
  const int32_t half = whole >> 1;
  return p * PowerOfTwo(half) * PowerOfTwo(whole - half);
}

float Tanh(float x) {
  if (x != x) return x;
  const float u = std::fabs(x) * -2.0f, clamped = u < kTanhLow ? kTanhLow : u;
  const float shifted = Fma(clamped, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  float r = Fma(n, -kLn2High, clamped);
  r = Fma(n, -kLn2Low, r);
  float p = kExpTerms[0];
  for (int i = 1; i < 6; ++i) p = Fma(p, r, kExpTerms[i]);
  p = Fma(p, r * r, r);
  const float s =
      PowerOfTwo(std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRoundMagic));
  const float e = Fma(p, s, s - 1.0f);
  return std::copysign(e / (e + 2.0f), x);
}

double ExpD(double x) {
  if (x != x) return x;
  if (x < -760) x = -760;
  if (x > 720) x = 720;
  const double n = Round(x * 1.4426950408889634074);
  const double r = (x - n * kLn2D[0]) - n * kLn2D[1];
  double sum = 0;
  for (int i = 14; i >= 2; --i) sum = (sum + 1) * r / i;
  const double p = 1 + (r + r * sum);
  const int64_t whole = static_cast<int64_t>(n), half = whole >> 1;
  return p * PowerOfTwoD(half) * PowerOfTwoD(whole - half);
}

double LogD(double x) {
  // x = 2^e * m with m in [1 / sqrt 2, sqrt 2); log m = 2 atanh((m - 1) / (m + 1)).
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | (uint64_t{1023} << 52));
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++e;
  }
  const double f = m - 1, s = f / (m + 1), z = s * s;
  double sum = 0;
  for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / i) * z;
  // log m = 2 s + 2 s sum, and 2 s = f - s f exactly in the reals: f carries the leading bits.
  const double low = static_cast<double>(e) * kLn2D[1] + (2 * s * sum - s * f);
  return static_cast<double>(e) * kLn2D[0] + (f + low);
}

double SinD(double x) {
  return SinQuarter(x, 0);
}
double CosD(double x) {
  return SinQuarter(x, 1);
}

}  // namespace glint
