#include "formats/import/gguf_types.h"

#include <cstring>
#include <iterator>

#include "quant/f16.h"

// The layouts are those of ggml's dequantize functions (ggml-quants.c); docs/QUANT.md writes them
// as formulas. Products are exact in f32, so the order of factors does not matter; where a minimum
// is added or taken away, that is the only rounding. "Element" counts from the block's first.
namespace glint {
namespace {

float HalfAt(const uint8_t* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return F16ToF32(bits);
}

int Nibble(uint8_t byte, size_t high) {
  return high ? byte >> 4 : byte & 15;
}

// --- Floats: a block is one number. ---

void F32Block(const uint8_t* from, float* out) {
  std::memcpy(out, from, sizeof *out);
}

void F16Block(const uint8_t* from, float* out) {
  *out = HalfAt(from);
}

void BF16Block(const uint8_t* from, float* out) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  *out = BF16ToF32(bits);
}

// --- Blocks of 32. Nibbles: elements 0..15 are the low ones of 16 bytes, 16..31 the high ones. ---

void UnpackNibbles(const uint8_t* from, uint8_t* codes) {
  for (size_t i = 0; i < 16; ++i) {
    codes[i] = from[i] & 15;
    codes[16 + i] = from[i] >> 4;
  }
}

// Q4_0, Q4_1, Q5_0, Q5_1: scale, minimum, a word of fifth bits (bit i is element i's), nibbles.
template <bool kMinimum, bool kFifthBit>
void UnpackLegacy(const uint8_t* from, uint8_t* codes, float* scales, float* minimums) {
  *scales = HalfAt(from);
  from += 2;
  if (kMinimum) {
    *minimums = HalfAt(from);
    from += 2;
  }
  uint32_t fifth_bits = 0;
  if (kFifthBit) {
    std::memcpy(&fifth_bits, from, sizeof fifth_bits);
    from += sizeof fifth_bits;
  }
  UnpackNibbles(from, codes);
  if (!kFifthBit) return;
  for (size_t i = 0; i < 32; ++i) {
    codes[i] = static_cast<uint8_t>(codes[i] | (fifth_bits >> i & 1) << 4);
  }
}

void UnpackQ8(const uint8_t* from, uint8_t* codes, float* scales, float*) {
  *scales = HalfAt(from);
  for (size_t i = 0; i < 32; ++i) codes[i] = from[2 + i] ^ 0x80;  // signed, plus 128
}

void UnpackIQ4NL(const uint8_t* from, uint8_t* codes, float* scales, float*) {
  *scales = HalfAt(from);
  UnpackNibbles(from + 2, codes);
}

// --- Blocks of 256, in subblocks of 16 or 32 with their own integer scales. ---

void UnpackIQ4XS(const uint8_t* from, uint8_t* codes, float* scales, float*) {
  const float scale = HalfAt(from);
  uint16_t high_bits;
  std::memcpy(&high_bits, from + 2, sizeof high_bits);
  const uint8_t* low_bits = from + 4;
  for (size_t sub = 0; sub < 8; ++sub) {
    const int step = Nibble(low_bits[sub / 2], sub % 2) | (high_bits >> (2 * sub) & 3) << 4;
    scales[sub] = scale * static_cast<float>(step - 32);
    UnpackNibbles(from + 8 + 16 * sub, codes + 32 * sub);
  }
}

// Q2_K, Q3_K and Q6_K have two bits of each element so: the block has two halves of four quarters
// of 32 elements, and a byte has the same element of all quarters of a half, first quarter lowest.
// They are added to the codes, `shift` bits up.
void AddTwoBits(const uint8_t* from, unsigned shift, uint8_t* codes) {
  for (size_t half = 0; half < 2; ++half) {
    for (size_t quarter = 0; quarter < 4; ++quarter) {
      for (size_t i = 0; i < 32; ++i) {
        const unsigned bits = from[32 * half + i] >> (2 * quarter) & 3u;
        uint8_t& code = codes[128 * half + 32 * quarter + i];
        code = static_cast<uint8_t>(code | bits << shift);
      }
    }
  }
}

// Bit j of byte i, 32 of them, is that of element 32 * j + i.
void AddOneBit(const uint8_t* from, unsigned shift, uint8_t* codes) {
  for (size_t j = 0; j < 8; ++j) {
    for (size_t i = 0; i < 32; ++i) {
      uint8_t& code = codes[32 * j + i];
      code = static_cast<uint8_t>(code | (from[i] >> j & 1u) << shift);
    }
  }
}

void UnpackQ2K(const uint8_t* from, uint8_t* codes, float* scales, float* minimums) {
  const float scale = HalfAt(from + 80), minimum = HalfAt(from + 82);
  for (size_t sub = 0; sub < 16; ++sub) {
    scales[sub] = scale * static_cast<float>(from[sub] & 15);
    minimums[sub] = -(minimum * static_cast<float>(from[sub] >> 4));
  }
  std::memset(codes, 0, 256);
  AddTwoBits(from + 16, 0, codes);
}

void UnpackQ3K(const uint8_t* from, uint8_t* codes, float* scales, float*) {
  const uint8_t* steps = from + 96;  // four bits of 16 steps, then two more bits
  const float scale = HalfAt(from + 108);
  for (size_t sub = 0; sub < 16; ++sub) {
    const int high_bits = steps[8 + sub % 4] >> (2 * (sub / 4)) & 3;
    const int step = Nibble(steps[sub % 8], sub / 8) | high_bits << 4;
    scales[sub] = scale * static_cast<float>(step - 32);
  }
  std::memset(codes, 0, 256);
  AddTwoBits(from + 32, 0, codes);
  AddOneBit(from, 2, codes);
}

void UnpackQ6K(const uint8_t* from, uint8_t* codes, float* scales, float*) {
  const float scale = HalfAt(from + 208);
  for (size_t sub = 0; sub < 16; ++sub) {
    scales[sub] = scale * static_cast<float>(static_cast<int8_t>(from[192 + sub]));
  }
  for (size_t i = 0; i < 64; ++i) {  // quarters 0 and 2 of 32 elements share bytes, 1 and 3 too
    codes[i] = from[i] & 15;
    codes[64 + i] = from[i] >> 4;
    codes[128 + i] = from[64 + i] & 15;
    codes[192 + i] = from[64 + i] >> 4;
  }
  AddTwoBits(from + 128, 4, codes);
}

// The six-bit steps of Q4_K and Q5_K, 12 bytes: the first four scales and minima have bytes of
// their own, whose upper two bits belong to the last four.
struct Steps {
  int scale, minimum;
};
Steps StepsOf(const uint8_t* bytes, size_t sub) {
  if (sub < 4) return {bytes[sub] & 63, bytes[4 + sub] & 63};
  return {(bytes[4 + sub] & 15) | bytes[sub - 4] >> 6 << 4,
          bytes[4 + sub] >> 4 | bytes[sub] >> 6 << 4};
}

// Q4_K, Q5_K: subblocks of 32; two share 32 bytes of nibbles, the first has the low ones.
template <bool kFifthBit>
void UnpackMinimumK(const uint8_t* from, uint8_t* codes, float* scales, float* minimums) {
  const float scale = HalfAt(from), minimum = HalfAt(from + 2);
  for (size_t sub = 0; sub < 8; ++sub) {
    const Steps step = StepsOf(from + 4, sub);
    scales[sub] = scale * static_cast<float>(step.scale);
    minimums[sub] = -(minimum * static_cast<float>(step.minimum));
  }
  const uint8_t* nibbles = from + (kFifthBit ? 48 : 16);
  for (size_t pair = 0; pair < 4; ++pair) {
    for (size_t i = 0; i < 32; ++i) {
      codes[64 * pair + i] = nibbles[32 * pair + i] & 15;
      codes[64 * pair + 32 + i] = nibbles[32 * pair + i] >> 4;
    }
  }
  if (kFifthBit) AddOneBit(from + 16, 4, codes);
}

// --- The table. ---

// The values of the codes of IQ4_NL and IQ4_XS.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

constexpr GgmlCoding kQ4_0 = {32, false, false, 8, nullptr, UnpackLegacy<false, false>};
constexpr GgmlCoding kQ4_1 = {32, true, false, 0, nullptr, UnpackLegacy<true, false>};
constexpr GgmlCoding kQ5_0 = {32, false, false, 16, nullptr, UnpackLegacy<false, true>};
constexpr GgmlCoding kQ5_1 = {32, true, false, 0, nullptr, UnpackLegacy<true, true>};
constexpr GgmlCoding kQ8_0 = {32, false, false, 128, nullptr, UnpackQ8};
constexpr GgmlCoding kIQ4NL = {32, false, true, 0, kIq4Values, UnpackIQ4NL};
constexpr GgmlCoding kIQ4XS = {32, false, true, 0, kIq4Values, UnpackIQ4XS};
constexpr GgmlCoding kQ2K = {16, true, false, 0, nullptr, UnpackQ2K};
constexpr GgmlCoding kQ3K = {16, false, false, 4, nullptr, UnpackQ3K};
constexpr GgmlCoding kQ4K = {32, true, false, 0, nullptr, UnpackMinimumK<false>};
constexpr GgmlCoding kQ5K = {32, true, false, 0, nullptr, UnpackMinimumK<true>};
constexpr GgmlCoding kQ6K = {16, false, false, 32, nullptr, UnpackQ6K};

template <const GgmlCoding& kCoding, size_t kElements, size_t kBytes>
void DecodeCoded(const uint8_t* from, size_t blocks, float* out) {
  uint8_t codes[kElements];
  float scales[kElements / kCoding.shared], minimums[kElements / kCoding.shared];
  for (size_t b = 0; b < blocks; ++b, from += kBytes) {
    kCoding.unpack(from, codes, scales, minimums);
    for (size_t begin = 0; begin < kElements; begin += kCoding.shared) {
      const size_t sub = begin / kCoding.shared;
      for (size_t i = 0; i < kCoding.shared; ++i) {
        const uint8_t code = codes[begin + i];
        const int level = kCoding.has_table ? kCoding.table[code] : code - kCoding.zero;
        const float product = scales[sub] * static_cast<float>(level);
        *out++ = kCoding.has_minimum ? product + minimums[sub] : product;
      }
    }
  }
}

template <void (*kBlock)(const uint8_t*, float*), size_t kElements, size_t kBytes>
void Blocks(const uint8_t* from, size_t blocks, float* out) {
  for (size_t b = 0; b < blocks; ++b) kBlock(from + b * kBytes, out + b * kElements);
}

template <void (*kBlock)(const uint8_t*, float*), size_t kElements, size_t kBytes>
constexpr GgmlType Floats(const char* name) {
  return {name, kElements, kBytes, Blocks<kBlock, kElements, kBytes>, nullptr};
}

template <const GgmlCoding& kCoding, size_t kElements, size_t kBytes>
constexpr GgmlType Coded(const char* name) {
  return {name, kElements, kBytes, DecodeCoded<kCoding, kElements, kBytes>, &kCoding};
}

// Cannot be read.
constexpr GgmlType Known(const char* name, uint32_t elements, uint32_t bytes) {
  return {name, elements, bytes, nullptr, nullptr};
}

// By the number in the file. Types without `decode` are there for their sizes: a file that has them
// can be listed, and the error that refuses them can name them.
constexpr GgmlType kTypes[] = {
    Floats<F32Block, 1, 4>("F32"),
    Floats<F16Block, 1, 2>("F16"),
    Coded<kQ4_0, 32, 18>("Q4_0"),
    Coded<kQ4_1, 32, 20>("Q4_1"),
    Known("Q4_2", 0, 0),
    Known("Q4_3", 0, 0),
    Coded<kQ5_0, 32, 22>("Q5_0"),
    Coded<kQ5_1, 32, 24>("Q5_1"),
    Coded<kQ8_0, 32, 34>("Q8_0"),
    Known("Q8_1", 32, 36),
    Coded<kQ2K, 256, 84>("Q2_K"),
    Coded<kQ3K, 256, 110>("Q3_K"),
    Coded<kQ4K, 256, 144>("Q4_K"),
    Coded<kQ5K, 256, 176>("Q5_K"),
    Coded<kQ6K, 256, 210>("Q6_K"),
    Known("Q8_K", 256, 292),
    Known("IQ2_XXS", 256, 66),
    Known("IQ2_XS", 256, 74),
    Known("IQ3_XXS", 256, 98),
    Known("IQ1_S", 256, 50),
    Coded<kIQ4NL, 32, 18>("IQ4_NL"),
    Known("IQ3_S", 256, 110),
    Known("IQ2_S", 256, 82),
    Coded<kIQ4XS, 256, 136>("IQ4_XS"),
    Known("I8", 1, 1),
    Known("I16", 1, 2),
    Known("I32", 1, 4),
    Known("I64", 1, 8),
    Known("F64", 1, 8),
    Known("IQ1_M", 256, 56),
    Floats<BF16Block, 1, 2>("BF16"),
    Known("Q4_0_4_4", 0, 0),
    Known("Q4_0_4_8", 0, 0),
    Known("Q4_0_8_8", 0, 0),
    Known("TQ1_0", 256, 54),
    Known("TQ2_0", 256, 66),
    Known("IQ4_NL_4_4", 0, 0),
    Known("IQ4_NL_4_8", 0, 0),
    Known("IQ4_NL_8_8", 0, 0),
    Known("MXFP4", 32, 17),
};

}  // namespace

const GgmlType* FindGgmlType(uint32_t id) {
  return id < std::size(kTypes) ? &kTypes[id] : nullptr;
}

}  // namespace glint
