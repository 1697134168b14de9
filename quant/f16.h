#pragma once
#include <cstdint>

// Half and bfloat16 to float and back: the same bits on every machine, under any rounding mode and
// with denormals flushed. Kernels compiled for different targets include this, so nothing here may
// leave an out-of-line copy that the linker shares between them: hence `static` and no
// std::bit_cast.
namespace glint {

static inline float FloatOf(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
static inline uint32_t BitsOf(float value) {
  return __builtin_bit_cast(uint32_t, value);
}

// IEEE binary16 to float: exact. Infinities and NaN payloads are kept (the payload's bits move up).
static inline float F16ToF32(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00) return FloatOf(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400) return FloatOf(sign | ((magnitude << 13) + (112u << 23)));
  // A denormal half, or zero, is magnitude * 2^-24: an exact product, and a normal float.
  return FloatOf(sign | BitsOf(static_cast<float>(magnitude) * 0x1p-24f));
}

// Float to IEEE binary16, to nearest, ties to even; beyond 65519.99 it is infinity. NaN stays NaN
// (quiet, the payload's upper bits kept).
static inline uint16_t F32ToF16(float value) {
  const uint32_t bits = BitsOf(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  }
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // >= 65520
  uint32_t kept, rest, half;  // the result before rounding, what is cut off, and half of its range
  if (magnitude >= 0x38800000u) {  // >= 2^-14: normal
    kept = (magnitude >> 13) - (112u << 10);
    rest = magnitude & 0x1fffu;
    half = 0x1000u;
  } else {
    if (magnitude <= 0x33000000u) return static_cast<uint16_t>(sign);  // <= 2^-25: ties to zero
    const uint32_t shift = 126 - (magnitude >> 23);                    // 14..24
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    kept = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1);
    half = 1u << (shift - 1);
  }
  if (rest > half || (rest == half && (kept & 1))) ++kept;  // a carry into the exponent is right
  return static_cast<uint16_t>(sign | kept);
}

// bfloat16 is the upper half of a float.
static inline float BF16ToF32(uint16_t value) {
  return FloatOf(uint32_t{value} << 16);
}

// To nearest, ties to even. NaN stays NaN (quiet).
static inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = BitsOf(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace glint
