#pragma once
#if defined(__x86_64__) || defined(__aarch64__)
#include <xsimd/xsimd.hpp>
#define GLINT_HAS_XSIMD 1
#else
#define GLINT_HAS_XSIMD 0
#endif

#include "quant/dtype.h"
#include "quant/plain_batch.h"

// Arithmetic of the encoders. A tile's 16 rows are 16 lanes and every lane works on its own row, so
// that no sum crosses lanes and a wider vector gives the same bits. There is no fma, and division
// is IEEE, for the same reason: xsimd's operator/ is an estimate on NEON, so quotients are taken in
// plain loops over the rows.
namespace glint {

#if GLINT_HAS_XSIMD
using Lanes = xsimd::batch<float>;
using Bytes = xsimd::make_sized_batch_t<int8_t, kTileRows>;  // a column of a tile
#else
using Lanes = PlainBatch<float, 4>;
using Bytes = PlainBatch<int8_t, kTileRows>;
#endif
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
