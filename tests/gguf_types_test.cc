#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/import/gguf_types.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/gguf_blocks.h"

// Decoding of GGUF's tensor types.
namespace glint {
namespace {

using namespace test;

bool IsSame(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
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
