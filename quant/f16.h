#pragma once
#include <bit>
#include <cstdint>

// Half and bfloat16 to float and back, in integer arithmetic alone: the same bits on every machine,
// under any rounding mode and with denormals flushed. `static inline` because kernels compiled for
// different targets include this: a shared inline function could be the copy with foreign
// instructions.
namespace glint {

// IEEE binary16 to float: exact. Infinities and NaN payloads are kept (the payload's bits move up).
static inline float F16ToF32(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00)
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  if (magnitude == 0) return std::bit_cast<float>(sign);
  // A denormal half is magnitude * 2^-24: normalize, so that the leading one becomes the hidden
  // bit.
  const uint32_t shift = static_cast<uint32_t>(std::countl_zero(magnitude)) - 21;  // 1..10
  const uint32_t fraction = (magnitude << shift & 0x3ffu) << 13;
  return std::bit_cast<float>(sign | (113 - shift) << 23 | fraction);
}

// Float to IEEE binary16, to nearest, ties to even; beyond 65519.99 it is infinity. NaN stays NaN
// (quiet, the payload's upper bits kept).
static inline uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
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
  return std::bit_cast<float>(uint32_t{value} << 16);
}

// To nearest, ties to even. NaN stays NaN (quiet).
static inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace glint
