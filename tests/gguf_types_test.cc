#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/import/gguf_types.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

// Decoding of GGUF's tensor types. Blocks are made here bit by bit, by the rules of those who write
// them (ggml's quantize functions): a layout says at which bit of the block each bit of each number
// goes. Values are computed in double, which holds every product and sum exactly, and rounded once.
namespace glint {
namespace {

using Place = size_t (*)(size_t item, size_t bit);  // 8 * byte + bit in the byte

struct Layout {
  const char* name;
  uint32_t id;
  size_t elements, bytes;
  size_t code_bits;
  Place code;
  size_t d, m;              // bytes where the halves are; m 0: there is none
  int code_zero;            // taken from each code
  bool code_signed, table;  // two's complement; looked up
  double m_sign;
  size_t sub, scale_bits;  // elements that share a step; 0 bits: there are no steps
  Place scale, minimum;
  int scale_zero;
  bool scale_signed;
};

constexpr int kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};

size_t Nibbles(size_t byte, size_t i, size_t b) {
  return 8 * (byte + i % 16) + (i < 16 ? 0 : 4) + b;
}
// Two bits of each of 256: 128 elements take 32 bytes, in which the next 32 follow 2 bits higher.
size_t Pairs(size_t byte, size_t i, size_t b) {
  const size_t j = i / 128 * 128, l = i % 32, p = (i - j) / 32;
  return 8 * (byte + j / 4 + l) + 2 * p + b;
}
// 64 elements take 32 bytes: the first half low, the second high.
size_t Halves(size_t byte, size_t i, size_t b) {
  return 8 * (byte + i / 64 * 32 + i % 32) + (i % 64 < 32 ? 0 : 4) + b;
}
// The steps of Q4_K and Q5_K: j < 4 in bytes 4 + j and 8 + j; the others in the nibbles of byte
// 8 + j, with their upper bits on top of bytes j and 4 + j.
size_t ScaleK(size_t j, size_t b) {
  if (j < 4) return 8 * (4 + j) + b;
  return b < 4 ? 8 * (4 + j + 4) + b : 8 * (4 + j - 4) + 6 + b - 4;
}
size_t MinimumK(size_t j, size_t b) {
  if (j < 4) return 8 * (4 + j + 4) + b;
  return b < 4 ? 8 * (4 + j + 4) + 4 + b : 8 * (4 + j) + 6 + b - 4;
}

const Layout kLayouts[] = {
    {"Q4_0", 2, 32, 18, 4, [](size_t i, size_t b) { return Nibbles(2, i, b); }, 0, 0, 8, false,
     false, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q4_1", 3, 32, 20, 4, [](size_t i, size_t b) { return Nibbles(4, i, b); }, 0, 2, 0, false,
     false, 1, 32, 0, nullptr, nullptr, 0, false},
    {"Q5_0", 6, 32, 22, 5, [](size_t i, size_t b) { return b < 4 ? Nibbles(6, i, b) : 8 * 2 + i; },
     0, 0, 16, false, false, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q5_1", 7, 32, 24, 5, [](size_t i, size_t b) { return b < 4 ? Nibbles(8, i, b) : 8 * 4 + i; },
     0, 2, 0, false, false, 1, 32, 0, nullptr, nullptr, 0, false},
    {"Q8_0", 8, 32, 34, 8, [](size_t i, size_t b) { return 8 * (2 + i) + b; }, 0, 0, 0, true, false,
     0, 32, 0, nullptr, nullptr, 0, false},
    {"IQ4_NL", 20, 32, 18, 4, [](size_t i, size_t b) { return Nibbles(2, i, b); }, 0, 0, 0, false,
     true, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q2_K", 10, 256, 84, 2, [](size_t i, size_t b) { return Pairs(16, i, b); }, 80, 82, 0, false,
     false, -1, 16, 4, [](size_t j, size_t b) { return 8 * j + b; },
     [](size_t j, size_t b) { return 8 * j + 4 + b; }, 0, false},
    {"Q3_K", 11, 256, 110, 3,
     [](size_t i, size_t b) { return b < 2 ? Pairs(32, i, b) : 8 * (i % 32) + i / 32; }, 108, 0, 4,
     false, false, 0, 16, 6,
     [](size_t j, size_t b) {
       if (b >= 4) return 8 * (96 + 8 + j % 4) + 2 * (j / 4) + b - 4;
       return j < 8 ? 8 * (96 + j) + b : 8 * (96 + j - 8) + 4 + b;
     },
     nullptr, 32, false},
    {"Q4_K", 12, 256, 144, 4, [](size_t i, size_t b) { return Halves(16, i, b); }, 0, 2, 0, false,
     false, -1, 32, 6, ScaleK, MinimumK, 0, false},
    {"Q5_K", 13, 256, 176, 5,
     [](size_t i, size_t b) { return b < 4 ? Halves(48, i, b) : 8 * (16 + i % 32) + i / 32; }, 0, 2,
     0, false, false, -1, 32, 6, ScaleK, MinimumK, 0, false},
    {"Q6_K", 14, 256, 210, 6,
     [](size_t i, size_t b) {
       if (b >= 4) return Pairs(128, i, b - 4);
       const size_t p = i % 128 / 32;
       return 8 * (i / 128 * 64 + i % 64) + (p < 2 ? 0 : 4) + b;
     },
     208, 0, 32, false, false, 0, 16, 8, [](size_t j, size_t b) { return 8 * (192 + j) + b; },
     nullptr, 0, true},
    {"IQ4_XS", 23, 256, 136, 4,
     [](size_t i, size_t b) { return Nibbles(8 + i / 32 * 16, i % 32, b); }, 0, 0, 0, false, true,
     0, 32, 6, [](size_t j, size_t b) { return b < 4 ? 8 * 4 + 4 * j + b : 8 * 2 + 2 * j + b - 4; },
     nullptr, 32, false},
};

// By the definition of IEEE binary16.
double HalfValue(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                       : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

bool IsSame(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

void Put(std::vector<uint8_t>* block, Place place, size_t item, size_t bits, unsigned value) {
  for (size_t b = 0; b < bits; ++b) {
    const size_t at = place(item, b);
    REQUIRE(at / 8 < block->size());
    if (value >> b & 1) (*block)[at / 8] |= static_cast<uint8_t>(1 << at % 8);
  }
}

void PutHalf(std::vector<uint8_t>* block, size_t at, uint16_t half) {
  (*block)[at] = static_cast<uint8_t>(half);
  (*block)[at + 1] = static_cast<uint8_t>(half >> 8);
}

int Signed(unsigned value, size_t bits) {
  return value >> (bits - 1) ? static_cast<int>(value) - (1 << bits) : static_cast<int>(value);
}

struct Block {
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};

// A block whose integers `next(bits)` gives.
template <class Next>
Block MakeBlock(const Layout& t, uint16_t d, uint16_t m, Next next) {
  Block block{std::vector<uint8_t>(t.bytes), {}};
  PutHalf(&block.bytes, t.d, d);
  if (t.m != 0) PutHalf(&block.bytes, t.m, m);
  double scale = 1, minimum = 1;
  for (size_t i = 0; i < t.elements; ++i) {
    if (t.scale_bits != 0 && i % t.sub == 0) {
      const unsigned step = next(t.scale_bits);
      Put(&block.bytes, t.scale, i / t.sub, t.scale_bits, step);
      scale = (t.scale_signed ? Signed(step, t.scale_bits) : static_cast<int>(step)) - t.scale_zero;
      if (t.minimum != nullptr) {
        const unsigned minimum_step = next(t.scale_bits);
        Put(&block.bytes, t.minimum, i / t.sub, t.scale_bits, minimum_step);
        minimum = minimum_step;
      }
    }
    const unsigned code = next(t.code_bits);
    Put(&block.bytes, t.code, i, t.code_bits, code);
    const int number = t.table         ? kTable[code]
                       : t.code_signed ? Signed(code, t.code_bits)
                                       : static_cast<int>(code);
    double value = HalfValue(d) * scale * (number - t.code_zero);
    if (t.m != 0) value += t.m_sign * (HalfValue(m) * minimum);
    block.values.push_back(static_cast<float>(value));
  }
  return block;
}

// Zeros, denormals, the smallest normal, ordinary numbers, the largest, infinities, NaN.
constexpr uint16_t kHalves[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400,
                                0x1234, 0x9A7B, 0x3555, 0x3C00, 0xBC01, 0x5BFF,
                                0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01};

void CheckBlock(const Layout& t, const Block& block) {
  // Two blocks in a row, from an odd address.
  std::vector<uint8_t> bytes(1 + 2 * t.bytes);
  std::memcpy(bytes.data() + 1, block.bytes.data(), t.bytes);
  std::memcpy(bytes.data() + 1 + t.bytes, block.bytes.data(), t.bytes);
  std::vector<float> out(2 * t.elements);
  FindGgmlType(t.id)->decode(bytes.data() + 1, 2, out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    const float expected = block.values[i % t.elements];
    if (IsSame(out[i], expected)) continue;
    CAPTURE(i);
    CHECK(out[i] == expected);
    break;
  }
}

TEST_CASE("every type's blocks have the values of the format, to the bit") {
  std::mt19937 random(5);
  for (const Layout& t : kLayouts) {
    CAPTURE(std::string(t.name));
    const GgmlType* type = FindGgmlType(t.id);
    REQUIRE(type != nullptr);
    CHECK(type->name == std::string(t.name));
    CHECK(type->block_elements == t.elements);
    REQUIRE(type->block_bytes == t.bytes);
    const bool is_decoded = type->decode != nullptr;
    REQUIRE(is_decoded);
    const auto any = [&](size_t bits) { return static_cast<unsigned>(random()) >> (32 - bits); };
    for (const uint16_t d : kHalves) {
      for (const uint16_t m : kHalves) {
        CheckBlock(t, MakeBlock(t, d, m, any));
        if (t.m == 0) break;
      }
      CheckBlock(t, MakeBlock(t, d, 0x3C00, [](size_t) { return 0u; }));
      CheckBlock(t, MakeBlock(t, d, 0x7BFF, [](size_t bits) { return (1u << bits) - 1; }));
    }
    for (int i = 0; i < 100; ++i) {
      const uint16_t d = static_cast<uint16_t>(random()), m = static_cast<uint16_t>(random());
      CheckBlock(t, MakeBlock(t, d, m, any));
    }
  }
}

TEST_CASE("a layout names every bit of its block once") {
  for (const Layout& t : kLayouts) {
    CAPTURE(std::string(t.name));
    const auto ones = [](size_t bits) { return (1u << bits) - 1; };
    const Block block = MakeBlock(t, 0xFFFF, 0xFFFF, ones);
    size_t bits = 16 + (t.m != 0 ? 16 : 0) + t.elements * t.code_bits;
    if (t.scale_bits != 0) bits += t.elements / t.sub * t.scale_bits * (t.minimum ? 2 : 1);
    CHECK(bits == 8 * t.bytes);
    for (const uint8_t byte : block.bytes) CHECK(byte == 0xFF);
  }
}

TEST_CASE("floats: every half and bfloat16, f32 as it is") {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const auto* from = reinterpret_cast<const uint8_t*>(all.data());
  std::vector<float> out(all.size());
  FindGgmlType(1)->decode(from, all.size(), out.data());
  size_t wrong = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    wrong += IsSame(out[i], static_cast<float>(HalfValue(all[i]))) ? 0 : 1;
  }
  FindGgmlType(30)->decode(from, all.size(), out.data());
  for (size_t i = 0; i < all.size(); ++i) {
    const uint32_t bits = static_cast<uint32_t>(i << 16);
    wrong += std::memcmp(&out[i], &bits, 4) == 0 ? 0 : 1;
  }
  CHECK(wrong == 0);
  FindGgmlType(0)->decode(from, 32768, out.data());
  CHECK(std::memcmp(out.data(), from, 131072) == 0);
}

TEST_CASE("types that cannot be read are known by name and size") {
  const struct {
    uint32_t id;
    const char* name;
    uint32_t elements, bytes;
  } rows[] = {{9, "Q8_1", 32, 36},     {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
              {17, "IQ2_XS", 256, 74}, {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
              {21, "IQ3_S", 256, 110}, {22, "IQ2_S", 256, 82},   {24, "I8", 1, 1},
              {25, "I16", 1, 2},       {26, "I32", 1, 4},        {27, "I64", 1, 8},
              {28, "F64", 1, 8},       {29, "IQ1_M", 256, 56},   {34, "TQ1_0", 256, 54},
              {35, "TQ2_0", 256, 66},  {39, "MXFP4", 32, 17},    {4, "Q4_2", 0, 0},
              {5, "Q4_3", 0, 0},       {31, "Q4_0_4_4", 0, 0},   {38, "IQ4_NL_8_8", 0, 0}};
  for (const auto& row : rows) {
    CAPTURE(std::string(row.name));
    const GgmlType* type = FindGgmlType(row.id);
    REQUIRE(type != nullptr);
    CHECK(type->name == std::string(row.name));
    CHECK(type->block_elements == row.elements);
    CHECK(type->block_bytes == row.bytes);
    const bool is_decoded = type->decode != nullptr;
    CHECK_FALSE(is_decoded);
  }
  CHECK(FindGgmlType(40) == nullptr);
  CHECK(FindGgmlType(0xFFFFFFFF) == nullptr);
}

}  // namespace
}  // namespace glint
