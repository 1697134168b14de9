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

// Q4_0, Q4_1, Q5_0, Q5_1: scale, minimum, a word of fifth bits (bit i is element i's), nibbles.
template <bool kMinimum, bool kFifthBit>
void LegacyBlock(const uint8_t* from, float* out) {
  const float scale = HalfAt(from);
  from += 2;
  float minimum = 0;
  if (kMinimum) {
    minimum = HalfAt(from);
    from += 2;
  }
  uint32_t fifth_bits = 0;
  if (kFifthBit) {
    std::memcpy(&fifth_bits, from, sizeof fifth_bits);
    from += sizeof fifth_bits;
  }
  constexpr int kZero = kFifthBit ? 16 : 8;  // where there is no minimum
  for (size_t i = 0; i < 32; ++i) {
    const int code = Nibble(from[i % 16], i / 16) | static_cast<int>(fifth_bits >> i & 1) << 4;
    out[i] = kMinimum ? scale * static_cast<float>(code) + minimum
                      : scale * static_cast<float>(code - kZero);
  }
}

void Q8Block(const uint8_t* from, float* out) {
  const float scale = HalfAt(from);
  for (size_t i = 0; i < 32; ++i) {
    out[i] = scale * static_cast<float>(static_cast<int8_t>(from[2 + i]));
  }
}

// The values of the codes of IQ4_NL and IQ4_XS.
constexpr float kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

void IQ4NLBlock(const uint8_t* from, float* out) {
  const float scale = HalfAt(from);
  for (size_t i = 0; i < 32; ++i) out[i] = scale * kIq4Values[Nibble(from[2 + i % 16], i / 16)];
}

// --- Blocks of 256, in subblocks of 16 or 32 with their own integer scales. ---

void IQ4XSBlock(const uint8_t* from, float* out) {
  const float scale = HalfAt(from);
  uint16_t high_bits;
  std::memcpy(&high_bits, from + 2, sizeof high_bits);
  const uint8_t* low_bits = from + 4;
  const uint8_t* codes = from + 8;
  for (size_t sub = 0; sub < 8; ++sub) {
    const int step = Nibble(low_bits[sub / 2], sub % 2) | (high_bits >> (2 * sub) & 3) << 4;
    const float sub_scale = scale * static_cast<float>(step - 32);
    for (size_t i = 0; i < 32; ++i) {
      *out++ = sub_scale * kIq4Values[Nibble(codes[16 * sub + i % 16], i / 16)];
    }
  }
}

// Where element i of subblock `sub` (of 16) lies in Q2_K, Q3_K and Q6_K: the block has two halves
// of four quarters of 32 elements. A byte has the same element of all four quarters of a half, two
// bits each, first quarter lowest.
struct Place {
  size_t half, quarter, column;  // column: 0..31 within the quarter
};
Place PlaceOf(size_t sub, size_t i) {
  return {sub / 8, sub % 8 / 2, 16 * (sub % 2) + i};
}
int TwoBits(const uint8_t* bytes, const Place& at) {
  return bytes[32 * at.half + at.column] >> (2 * at.quarter) & 3;
}

void Q2KBlock(const uint8_t* from, float* out) {
  const uint8_t* steps = from;  // low nibble: of the scale; high: of the minimum
  const uint8_t* codes = from + 16;
  const float scale = HalfAt(from + 80), minimum = HalfAt(from + 82);
  for (size_t sub = 0; sub < 16; ++sub) {
    const float sub_scale = scale * static_cast<float>(steps[sub] & 15);
    const float sub_minimum = minimum * static_cast<float>(steps[sub] >> 4);
    for (size_t i = 0; i < 16; ++i) {
      *out++ = sub_scale * static_cast<float>(TwoBits(codes, PlaceOf(sub, i))) - sub_minimum;
    }
  }
}

void Q3KBlock(const uint8_t* from, float* out) {
  const uint8_t* third_bits = from;  // bit 4 * half + quarter of byte `column`
  const uint8_t* codes = from + 32;
  const uint8_t* steps = from + 96;  // four bits of 16 steps, then two more bits
  const float scale = HalfAt(from + 108);
  for (size_t sub = 0; sub < 16; ++sub) {
    const int high_bits = steps[8 + sub % 4] >> (2 * (sub / 4)) & 3;
    const int step = Nibble(steps[sub % 8], sub / 8) | high_bits << 4;
    const float sub_scale = scale * static_cast<float>(step - 32);
    for (size_t i = 0; i < 16; ++i) {
      const Place at = PlaceOf(sub, i);
      const int third = third_bits[at.column] >> (4 * at.half + at.quarter) & 1;
      *out++ = sub_scale * static_cast<float>((TwoBits(codes, at) | third << 2) - 4);
    }
  }
}

void Q6KBlock(const uint8_t* from, float* out) {
  const uint8_t* low_bits = from;  // quarters 0 and 2 of 32 columns share bytes, 1 and 3 too
  const uint8_t* high_bits = from + 128;
  const uint8_t* steps = from + 192;  // signed
  const float scale = HalfAt(from + 208);
  for (size_t sub = 0; sub < 16; ++sub) {
    const float sub_scale = scale * static_cast<float>(static_cast<int8_t>(steps[sub]));
    for (size_t i = 0; i < 16; ++i) {
      const Place at = PlaceOf(sub, i);
      const uint8_t low = low_bits[64 * at.half + 32 * (at.quarter % 2) + at.column];
      const int code = Nibble(low, at.quarter / 2) | TwoBits(high_bits, at) << 4;
      *out++ = sub_scale * static_cast<float>(code - 32);
    }
  }
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

// Q4_K, Q5_K: subblocks of 32; two share 32 bytes of nibbles, the first has the low ones. Bit `sub`
// of byte i of the fifth bits is element i's.
template <bool kFifthBit>
void MinimumKBlock(const uint8_t* from, float* out) {
  const float scale = HalfAt(from), minimum = HalfAt(from + 2);
  const uint8_t* steps = from + 4;
  const uint8_t* fifth_bits = from + 16;
  const uint8_t* codes = from + (kFifthBit ? 48 : 16);
  for (size_t sub = 0; sub < 8; ++sub) {
    const Steps step = StepsOf(steps, sub);
    const float sub_scale = scale * static_cast<float>(step.scale);
    const float sub_minimum = minimum * static_cast<float>(step.minimum);
    for (size_t i = 0; i < 32; ++i) {
      int code = Nibble(codes[32 * (sub / 2) + i], sub % 2);
      if (kFifthBit) code |= (fifth_bits[i] >> sub & 1) << 4;
      *out++ = sub_scale * static_cast<float>(code) - sub_minimum;
    }
  }
}

template <void (*kBlock)(const uint8_t*, float*), size_t kElements, size_t kBytes>
void Blocks(const uint8_t* from, size_t blocks, float* out) {
  for (size_t b = 0; b < blocks; ++b) kBlock(from + b * kBytes, out + b * kElements);
}

template <void (*kBlock)(const uint8_t*, float*), size_t kElements, size_t kBytes>
constexpr GgmlType Row(const char* name) {
  return {name, kElements, kBytes, Blocks<kBlock, kElements, kBytes>};
}

// By the number in the file. Types without `decode` are there for their sizes: a file that has them
// can be listed, and the error that refuses them can name them.
constexpr GgmlType kTypes[] = {
    Row<F32Block, 1, 4>("F32"),
    Row<F16Block, 1, 2>("F16"),
    Row<LegacyBlock<false, false>, 32, 18>("Q4_0"),
    Row<LegacyBlock<true, false>, 32, 20>("Q4_1"),
    {"Q4_2", 0, 0, nullptr},
    {"Q4_3", 0, 0, nullptr},
    Row<LegacyBlock<false, true>, 32, 22>("Q5_0"),
    Row<LegacyBlock<true, true>, 32, 24>("Q5_1"),
    Row<Q8Block, 32, 34>("Q8_0"),
    {"Q8_1", 32, 36, nullptr},
    Row<Q2KBlock, 256, 84>("Q2_K"),
    Row<Q3KBlock, 256, 110>("Q3_K"),
    Row<MinimumKBlock<false>, 256, 144>("Q4_K"),
    Row<MinimumKBlock<true>, 256, 176>("Q5_K"),
    Row<Q6KBlock, 256, 210>("Q6_K"),
    {"Q8_K", 256, 292, nullptr},
    {"IQ2_XXS", 256, 66, nullptr},
    {"IQ2_XS", 256, 74, nullptr},
    {"IQ3_XXS", 256, 98, nullptr},
    {"IQ1_S", 256, 50, nullptr},
    Row<IQ4NLBlock, 32, 18>("IQ4_NL"),
    {"IQ3_S", 256, 110, nullptr},
    {"IQ2_S", 256, 82, nullptr},
    Row<IQ4XSBlock, 256, 136>("IQ4_XS"),
    {"I8", 1, 1, nullptr},
    {"I16", 1, 2, nullptr},
    {"I32", 1, 4, nullptr},
    {"I64", 1, 8, nullptr},
    {"F64", 1, 8, nullptr},
    {"IQ1_M", 256, 56, nullptr},
    Row<BF16Block, 1, 2>("BF16"),
    {"Q4_0_4_4", 0, 0, nullptr},
    {"Q4_0_4_8", 0, 0, nullptr},
    {"Q4_0_8_8", 0, 0, nullptr},
    {"TQ1_0", 256, 54, nullptr},
    {"TQ2_0", 256, 66, nullptr},
    {"IQ4_NL_4_4", 0, 0, nullptr},
    {"IQ4_NL_4_8", 0, 0, nullptr},
    {"IQ4_NL_8_8", 0, 0, nullptr},
    {"MXFP4", 32, 17, nullptr},
};

}  // namespace

const GgmlType* FindGgmlType(uint32_t id) {
  return id < std::size(kTypes) ? &kTypes[id] : nullptr;
}

}  // namespace glint
