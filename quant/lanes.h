#pragma once
#include <xsimd/xsimd.hpp>

#include "quant/dtype.h"

// Arithmetic of the encoders. A tile's 16 rows are 16 lanes and every lane works on its own row, so
// that no sum crosses lanes and a wider vector gives the same bits. There is no fma, and division
// is IEEE, for the same reason: xsimd's operator/ is an estimate on NEON, so quotients are taken in
// plain loops over the rows.
namespace glint {

using Lanes = xsimd::batch<float>;
static_assert(kTileRows % Lanes::size == 0);

// To the nearest integer, ties to even, for |x| < 2^22: the sum has no room for a fraction.
template <typename T>
inline T Round(T x) {
  const T magic(12582912.0f);  // 1.5 * 2^23
  return (x + magic) - magic;
}

// 1 / x, or 0 where x is 0.
inline float InverseOf(float x) {
  return x == 0.0f ? 0.0f : 1.0f / x;
}

}  // namespace glint
