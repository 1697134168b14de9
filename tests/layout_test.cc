#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "tests/quant_samples.h"

// The run-time half of quant/: f16, types, layouts, decoding. It needs no encoder.
using namespace glint;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Kind {
  DType dtype;
  BlockOffset offset;
};
const Kind kKinds[] = {{DType::kF32, BlockOffset::kNone},   {DType::kF16, BlockOffset::kNone},
                       {DType::kBF16, BlockOffset::kNone},  {DType::kInt8, BlockOffset::kNone},
                       {DType::kInt4, BlockOffset::kNone},  {DType::kInt4x, BlockOffset::kNone},
                       {DType::kInt4a, BlockOffset::kNone}, {DType::kInt4a, BlockOffset::kZero},
                       {DType::kInt4a, BlockOffset::kMin},  {DType::kInt3, BlockOffset::kNone},
                       {DType::kInt6, BlockOffset::kNone}};

}  // namespace

TEST_CASE("f16: every value is exact and comes back") {
  for (uint32_t h = 0; h < 65536; ++h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float got = F16ToF32(static_cast<uint16_t>(h));
    if (exponent == 31 && fraction != 0) {
      REQUIRE(std::isnan(got));
      REQUIRE(F32ToF16(got) == (h | 0x200));  // quiet, payload and sign kept
      continue;
    }
    double want =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) want = HUGE_VAL;
    REQUIRE(got == static_cast<float>(h & 0x8000 ? -want : want));
    REQUIRE(std::signbit(got) == (h >= 0x8000));
    REQUIRE(F32ToF16(got) == h);
  }
}

TEST_CASE("f16: rounds to nearest, ties to even") {
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    const float low = F16ToF32(static_cast<uint16_t>(h));
    // Above the largest half, 65536 stands for infinity.
    const float high = h == 0x7bff ? 65536.0f : F16ToF32(static_cast<uint16_t>(h + 1));
    const float middle = static_cast<float>((double{low} + high) / 2);
    REQUIRE(F32ToF16(middle) == (h & 1 ? h + 1 : h));
    REQUIRE(F32ToF16(std::nextafter(middle, 0.0f)) == h);
    REQUIRE(F32ToF16(std::nextafter(middle, kInf)) == h + 1);
    REQUIRE(F32ToF16(-middle) == ((h & 1 ? h + 1 : h) | 0x8000));
  }
  CHECK(F32ToF16(1e-45f) == 0);
  CHECK(F32ToF16(-1e-45f) == 0x8000);
  CHECK(F32ToF16(3.4e38f) == 0x7c00);
  CHECK(std::isnan(F16ToF32(F32ToF16(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("bf16: every value is exact and comes back; rounds to nearest, ties to even") {
  for (uint32_t b = 0; b < 65536; ++b) {
    const float value = BF16ToF32(static_cast<uint16_t>(b));
    REQUIRE(std::bit_cast<uint32_t>(value) == b << 16);
    REQUIRE(F32ToBF16(value) == (std::isnan(value) ? (b | 0x40) : b));
    if ((b & 0x7fff) >= 0x7f80) continue;
    REQUIRE(F32ToBF16(std::bit_cast<float>(b << 16 | 0x8000)) == (b & 1 ? b + 1 : b));
    REQUIRE(F32ToBF16(std::bit_cast<float>(b << 16 | 0x7fff)) == b);
    REQUIRE(F32ToBF16(std::bit_cast<float>(b << 16 | 0x8001)) == b + 1);
  }
  CHECK(std::isnan(BF16ToF32(F32ToBF16(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("types and offsets are found by name") {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    DType dtype;
    REQUIRE(ParseDType(Info(static_cast<DType>(i)).name, &dtype));
    CHECK(dtype == static_cast<DType>(i));
  }
  for (size_t i = 0; i < kBlockOffsetCount; ++i) {
    BlockOffset offset;
    REQUIRE(ParseBlockOffset(Name(static_cast<BlockOffset>(i)), &offset));
    CHECK(offset == static_cast<BlockOffset>(i));
  }
  DType dtype;
  BlockOffset offset;
  for (const char* name : {"", "int", "int44", "INT4", "f64"}) {
    CHECK_FALSE(ParseDType(name, &dtype));
    CHECK_FALSE(ParseBlockOffset(name, &offset));
  }
}

TEST_CASE("layout: parts and sizes") {
  // 100 rows are 7 tiles; 172 columns pad to 192: 6 blocks of 32, 12 of 16.
  MatrixLayout l = Layout(DType::kInt4, 100, 172);
  CHECK(l.row_tiles == 7);
  CHECK(l.padded_cols == 192);
  CHECK(l.blocks == 6);
  CHECK(l.table == 0);
  CHECK(l.row_scales == 64);
  CHECK(l.block_scales == 64 + 7 * 64);
  CHECK(l.block_offsets == 1216);  // 512 + 7 * 96 = 1184, rounded up to 64
  CHECK(l.codes == 1216);
  CHECK(l.bytes == 1216 + 7 * 6 * 256);
  CHECK(l.codes_tile == 6 * 256);
  CHECK(l.block_offsets_tile == 0);

  l = Layout(DType::kInt4x, 100, 172);
  CHECK(l.blocks == 12);
  CHECK(l.block_scales_tile == 12 * 16);
  CHECK(l.codes_tile == 6 * 256);

  l = Layout(DType::kInt8, 17, 33);
  CHECK(l.row_scales == 0);
  CHECK(l.block_scales == 0);
  CHECK(l.codes == 2 * 2 * 32);
  CHECK(l.bytes == 128 + 2 * 2 * 512);

  l = Layout(DType::kInt4a, 17, 33, BlockOffset::kZero);
  CHECK(l.block_scales == 64);
  CHECK(l.block_offsets == 64 + 2 * 2 * 64);
  CHECK(l.codes == 320 + 64);
  CHECK(l.bytes == 384 + 2 * 2 * 256);
  l = Layout(DType::kInt4a, 17, 33, BlockOffset::kMin);
  CHECK(l.block_offsets_tile == 64);

  l = Layout(DType::kInt3, 100, 172);
  CHECK(l.row_scales == 64);
  CHECK(l.block_scales == 64 + 7 * 64);
  CHECK(l.blocks == 12);
  CHECK(l.codes == 1856);  // 512 + 7 * 192
  CHECK(l.codes_tile == 6 * 192);
  l = Layout(DType::kInt6, 17, 33);
  CHECK(l.row_scales == 0);
  CHECK(l.block_scales == 2 * 64);
  CHECK(l.codes == 128 + 2 * 4 * 16);
  CHECK(l.bytes == 256 + 2 * 2 * 384);

  l = Layout(DType::kF16, 1, 1);
  CHECK(l.codes == 0);
  CHECK(l.blocks == 0);
  CHECK(l.bytes == 32);
  CHECK(Layout(DType::kF32, 16, 100).bytes == 6400);

  // DESIGN.md 6: 4.25, 4.5 and 8.5 bits per weight (and 32 bits per row); int3 3.5, int6 6.5.
  CHECK(Layout(DType::kInt4, 4096, 4096).bytes == 4096 * 4096 / 8 * 17 / 4 + 4096 * 4 + 64);
  CHECK(Layout(DType::kInt4x, 4096, 4096).bytes == 4096 * 4096 / 8 * 9 / 2 + 4096 * 4 + 64);
  CHECK(Layout(DType::kInt8, 4096, 4096).bytes == 4096 * 4096 / 8 * 17 / 2);
  CHECK(Layout(DType::kInt3, 4096, 4096).bytes == 4096 * 4096 / 8 * 7 / 2 + 4096 * 4 + 64);
  CHECK(Layout(DType::kInt6, 4096, 4096).bytes == 4096 * 4096 / 8 * 13 / 2 + 4096 * 4);
}

TEST_CASE("layout: what cannot be is refused") {
  MatrixLayout l;
  l.rows = 7;
  const auto refused = [&](DType dtype, uint64_t rows, uint64_t cols,
                           BlockOffset offset = BlockOffset::kNone) {
    return !ComputeLayout(dtype, offset, rows, cols, &l);
  };
  CHECK(refused(DType::kU8, 4, 4));
  CHECK(refused(DType::kI32, 4, 4));
  CHECK(refused(DType::kInt4, 4, 4, BlockOffset::kZero));
  CHECK(refused(DType::kF32, 4, 4, BlockOffset::kMin));
  const uint64_t big[] = {
      uint64_t{1} << 31, uint64_t{1} << 58, uint64_t{1} << 62, (uint64_t{1} << 62) - 1,
      uint64_t{1} << 63, UINT64_MAX - 15,   UINT64_MAX};
  for (const Kind& kind : kKinds) {
    CHECK(refused(kind.dtype, 0, 4, kind.offset));
    CHECK(refused(kind.dtype, 4, 0, kind.offset));
    for (const uint64_t a : big) {
      CHECK(refused(kind.dtype, a, uint64_t{1} << 33, kind.offset));
      CHECK(refused(kind.dtype, uint64_t{1} << 33, a, kind.offset));
      if (a >= uint64_t{1} << 62) CHECK(refused(kind.dtype, a, 1, kind.offset));
      if (a >= uint64_t{1} << 62) CHECK(refused(kind.dtype, 1, a, kind.offset));
    }
  }
  CHECK(l.rows == 7);  // untouched by a refusal
}

TEST_CASE("decode: any bytes, by the words of layout.h") {
  Random random{1};
  for (const Kind& kind : kKinds) {
    for (const Shape& shape : kShapes) {
      CAPTURE(std::string(Info(kind.dtype).name));
      CAPTURE(std::string(Name(kind.offset)));
      CAPTURE(shape.rows);
      CAPTURE(shape.cols);
      Tensor tensor(Layout(kind.dtype, shape.rows, shape.cols, kind.offset));
      for (uint64_t i = 0; i < tensor.layout.bytes; ++i) {
        tensor.data[i] = static_cast<uint8_t>(random.Uniform() * 256);
      }
      const Naive naive{tensor.layout, tensor.data};
      for (uint64_t r = 0; r < shape.rows; ++r) {
        const std::vector<float> row = tensor.Row(r);
        for (uint64_t c = 0; c < shape.cols; ++c) {
          const float want = naive.Value(r, c);
          // Infinities and NaN are what random scales make now and then.
          if (std::isnan(want)) {
            REQUIRE(std::isnan(row[c]));
          } else {
            REQUIRE(row[c] == want);
          }
        }
      }
    }
  }
}
