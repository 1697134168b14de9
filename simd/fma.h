#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace glint {

// a * b + c, rounded once, for baseline code. std::fma does so where the C library is right; that of mingw-w64
// rounds twice. There: the product of two floats is exact in a double, the sum is rounded to odd (its last
// bit set if anything was lost), and a sum of 53 such bits is rounded to 24 as the exact one is (Boldo and
// Melquiond 2008, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").
inline float Fma(float a, float b, float c) {
#if defined(_WIN32)
  const double product = static_cast<double>(a) * static_cast<double>(b), addend = c;
  const double sum = product + addend;
  const double added = sum - product;
  const double error = (product - (sum - added)) + (addend - added);
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  const bool is_inexact = error > 0 || error < 0;  // neither where it is no number
  if (is_inexact && (bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : ~uint64_t{0};
  return static_cast<float>(std::bit_cast<double>(bits));
#else
  return std::fma(a, b, c);
#endif
}

}  // namespace glint
