#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "quant/encode.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "quant/encode_tile.h"
#include "tests/quant_samples.h"

// The encoders. layout_test has the run-time half.
using namespace glint;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Kind {
  DType dtype;
  BlockOffset offset;
  Int4Table table;
  double bound;  // of squared error / variance on normal values
};
const Kind kKinds[] = {
    {DType::kF32, BlockOffset::kNone, kDefaultInt4Table, 0},
    {DType::kF16, BlockOffset::kNone, kDefaultInt4Table, 2.5e-7},
    {DType::kBF16, BlockOffset::kNone, kDefaultInt4Table, 4e-6},
    {DType::kInt8, BlockOffset::kNone, kDefaultInt4Table, 5e-5},
    {DType::kInt4, BlockOffset::kNone, kDefaultInt4Table, 1e-2},
    {DType::kInt4, BlockOffset::kNone, kLinearTable, 1.5e-2},
    {DType::kInt4x, BlockOffset::kNone, kDefaultInt4Table, 1e-2},
    {DType::kInt4a, BlockOffset::kNone, kDefaultInt4Table, 1e-2},
    {DType::kInt4a, BlockOffset::kZero, kUnsignedTable, 1e-2},
    {DType::kInt4a, BlockOffset::kMin, kUnsignedTable, 1e-2},
    {DType::kInt3, BlockOffset::kNone, kDefaultInt3Table, 3e-2},
    {DType::kInt6, BlockOffset::kNone, kDefaultInt4Table, 6e-4},
};

void Encode(const Kind& kind, const std::vector<float>& x, bool search, Tensor* tensor) {
  const EncodeOptions options{kind.table, search};
  if (Info(kind.dtype).has_table) WriteTable(options.table, tensor->data);
  const TilePlanes planes = PlanesAt(tensor->layout, tensor->data, 0);
  REQUIRE(EncodeTiles(tensor->layout, options, x.data(), tensor->layout.rows, planes) == kEncoded);
}

double ErrorOf(const Tensor& tensor, const std::vector<float>& x) {
  double error = 0, squares = 0;
  for (uint64_t r = 0; r < tensor.layout.rows; ++r) {
    const std::vector<float> got = tensor.Row(r);
    for (uint64_t c = 0; c < tensor.layout.cols; ++c) {
      const double want = x[r * tensor.layout.cols + c];
      error += (got[c] - want) * (got[c] - want);
      squares += want * want;
    }
  }
  return error / squares;
}

// The bits of an element's code, of padding too.
int CodeBits(const Naive& naive, uint64_t row, uint64_t col) {
  const MatrixLayout& l = naive.l;
  if (l.dtype == DType::kInt3) return static_cast<int>(naive.Code3(l.codes, row, col));
  if (l.dtype == DType::kInt6) return naive.Code6(l.codes, row, col);
  if (Info(l.dtype).has_table) return naive.Code4(l.codes, row, col, Info(l.dtype).block);
  const uint64_t quad = row / 16 * l.padded_cols / 4 + col / 4;
  return naive.data[l.codes + quad * 64 + row % 16 * 4 + col % 4];
}

}  // namespace

TEST_CASE("encode then decode: every type, every tail") {
  Random random{1};
  for (const Kind& kind : kKinds) {
    for (const Shape& shape : kShapes) {
      for (const bool search : {false, true}) {
        CAPTURE(std::string(Info(kind.dtype).name));
        CAPTURE(std::string(Name(kind.offset)));
        CAPTURE(shape.rows);
        CAPTURE(shape.cols);
        Tensor tensor(Layout(kind.dtype, shape.rows, shape.cols, kind.offset));
        const std::vector<float> x = random.Normals(shape.rows * shape.cols);
        Encode(kind, x, search, &tensor);
        CHECK(ErrorOf(tensor, x) <= kind.bound);
        const Naive naive{tensor.layout, tensor.data};
        for (uint64_t r = 0; r < shape.rows; ++r) {
          const std::vector<float> row = tensor.Row(r);
          for (uint64_t c = 0; c < shape.cols; ++c) REQUIRE(row[c] == naive.Value(r, c));
        }
      }
    }
  }
}

TEST_CASE("encode: padding rows and columns are zero bytes") {
  Random random{2};
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(Info(kind.dtype).name));
    // One row and one column: all else is padding. Its nonzero bytes are few and in known places.
    Tensor tensor(Layout(kind.dtype, 1, 1, kind.offset));
    Encode(kind, {1.5f}, true, &tensor);
    const MatrixLayout& l = tensor.layout;
    const auto nonzero = [&](uint64_t from, uint64_t n) {
      uint64_t count = 0;
      for (uint64_t i = 0; i < n; ++i) count += tensor.data[from + i] != 0;
      return count;
    };
    CHECK(nonzero(l.row_scales, l.row_scales_tile) <= 4);
    CHECK(nonzero(l.block_scales, l.block_scales_tile) <= 4);
    CHECK(nonzero(l.block_offsets, l.block_offsets_tile) <= 2);
    CHECK(nonzero(l.codes, l.codes_tile) <= 4);
    CHECK(nonzero(l.codes + 4, l.codes_tile - 4) == 0);
    // 172 columns: the last 20 have no bits. 100 rows: the last tile has 4 rows.
    if (l.blocks == 0) continue;
    Tensor wide(Layout(kind.dtype, 100, 172, kind.offset));
    Encode(kind, random.Normals(100 * 172), true, &wide);
    const Naive naive{wide.layout, wide.data};
    for (uint64_t r = 0; r < 16 * wide.layout.row_tiles; ++r) {
      for (uint64_t c = r < 100 ? 172 : 0; c < 192; ++c) REQUIRE(CodeBits(naive, r, c) == 0);
    }
  }
}

TEST_CASE("encode: error on normal and heavy-tailed weights") {
  // What docs/QUANT.md states for large matrices, with a margin for the smaller sample.
  struct Bound {
    DType dtype;
    double normal, student;
  };
  const Bound bounds[] = {{DType::kInt8, 2.5e-5, 4.5e-5},
                          {DType::kInt4, 5.4e-3, 7.0e-3},
                          {DType::kInt4x, 4.0e-3, 4.7e-3},
                          {DType::kInt4a, 5.4e-3, 7.0e-3},
                          {DType::kInt3, 1.85e-2, 2.15e-2},
                          {DType::kInt6, 2.8e-4, 4.5e-4}};
  const uint64_t rows = 48, cols = 4096;
  Random random{3};
  const std::vector<float> normal = random.Normals(rows * cols);
  std::vector<float> student(rows * cols);
  for (float& x : student) x = static_cast<float>(random.Student5());
  for (const Bound& bound : bounds) {
    CAPTURE(std::string(Info(bound.dtype).name));
    const Kind kind{bound.dtype, BlockOffset::kNone, DefaultTable(bound.dtype), 0};
    Tensor tensor(Layout(bound.dtype, rows, cols));
    Encode(kind, normal, true, &tensor);
    CHECK(ErrorOf(tensor, normal) <= bound.normal);
    Encode(kind, student, true, &tensor);
    CHECK(ErrorOf(tensor, student) <= bound.student);
  }
}

TEST_CASE("encode: the grouping of tiles does not change a byte; neither does the machine") {
  // The hashes were computed once on x86-64 and hold for every vector width and architecture.
  const uint64_t hashes[] = {11529943041647182662u, 17598819866876588516u, 17269379143499412975u,
                             526795417254316712u,   3211626513724242231u,  8862578823856113435u,
                             11876972837965680300u,  1672508458759692662u,  14972704672457093419u,
                             8792377599281283670u,  2835695210477214063u,  13242253796276105474u};
  Random random{4};
  const uint64_t rows = 100, cols = 172;
  const std::vector<float> x = random.Normals(rows * cols);
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    const Kind& kind = kKinds[i];
    CAPTURE(std::string(Info(kind.dtype).name));
    CAPTURE(i);
    Tensor whole(Layout(kind.dtype, rows, cols, kind.offset)), parts(whole.layout);
    std::memset(whole.data, 0, whole.layout.bytes);  // the gaps between the parts
    std::memset(parts.data, 0, parts.layout.bytes);
    Encode(kind, x, true, &whole);
    const EncodeOptions options{kind.table, true};
    if (Info(kind.dtype).has_table) WriteTable(options.table, parts.data);
    for (const uint64_t first : {96, 32, 0}) {  // out of order: 4, 64 and 32 rows
      const uint64_t n = std::min<uint64_t>(first == 32 ? 64 : 32, rows - first);
      CHECK(EncodeTiles(parts.layout, options, x.data() + first * cols, n,
                        PlanesAt(parts.layout, parts.data, first / 16)) == kEncoded);
    }
    CHECK(whole == parts);
    CHECK(Hash(whole.data, whole.layout.bytes) == hashes[i]);
  }
}

TEST_CASE("encode: what cannot be stored is reported by its index") {
  Random random{5};
  const uint64_t rows = 35, cols = 40;
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(Info(kind.dtype).name));
    Tensor tensor(Layout(kind.dtype, rows, cols, kind.offset));
    const EncodeOptions options{kind.table, true};
    const TilePlanes planes = PlanesAt(tensor.layout, tensor.data, 0);
    for (const float bad : {kInf, -kInf, kNan, -kNan}) {
      for (const uint64_t at : {0, 39, 40, 15 * 40 + 7, 34 * 40 + 39}) {
        std::vector<float> x = random.Normals(rows * cols);
        x[at] = bad;
        x[rows * cols - 1] = kNan;  // the first one counts
        CHECK(EncodeTiles(tensor.layout, options, x.data(), rows, planes) == at);
      }
    }
  }
  // The largest magnitude that each type takes, and the first beyond it.
  struct Limit {
    DType dtype;
    BlockOffset offset;
    float largest;
  };
  const Limit limits[] = {{DType::kF16, BlockOffset::kNone, 65519.996f},
                          {DType::kBF16, BlockOffset::kNone, 0x1.fefffep127f},
                          {DType::kInt8, BlockOffset::kNone, 65504.0f * 127},
                          {DType::kInt4, BlockOffset::kNone, 0x1p126f},
                          {DType::kInt4x, BlockOffset::kNone, 0x1p126f},
                          {DType::kInt3, BlockOffset::kNone, 0x1p126f},
                          {DType::kInt6, BlockOffset::kNone, 0x1p126f},
                          {DType::kInt4a, BlockOffset::kZero, 0x1p126f},
                          {DType::kInt4a, BlockOffset::kMin, 65519.996f}};
  for (const Limit& limit : limits) {
    CAPTURE(std::string(Info(limit.dtype).name));
    Tensor tensor(Layout(limit.dtype, 1, 40, limit.offset));
    const TilePlanes planes = PlanesAt(tensor.layout, tensor.data, 0);
    if (Info(limit.dtype).has_table) WriteTable(kUnsignedTable, tensor.data);
    std::vector<float> x(40, 1.0f);
    x[32] = -limit.largest;
    CHECK(EncodeTiles(tensor.layout, {kUnsignedTable, true}, x.data(), 1, planes) == kEncoded);
    for (const float value : tensor.Row(0)) CHECK(std::isfinite(value));
    x[32] = std::nextafter(x[32], -kInf);
    CHECK(EncodeTiles(tensor.layout, {kUnsignedTable, true}, x.data(), 1, planes) == 32);
  }
}

TEST_CASE("encode: zeros, denormals, extremes and outliers") {
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(Info(kind.dtype).name));
    CAPTURE(std::string(Name(kind.offset)));
    for (const bool search : {false, true}) {
      const uint64_t cols = 96;
      Tensor tensor(Layout(kind.dtype, 17, cols, kind.offset));
      std::vector<float> x(17 * cols, 0.0f);
      Encode(kind, x, search, &tensor);
      for (uint64_t r = 0; r < 17; ++r) {
        for (const float value : tensor.Row(r)) REQUIRE(value == 0.0f);
      }
      // A zero block between others, and a negative zero, stay zero.
      for (uint64_t c = 0; c < 32; ++c) x[5 * cols + c] = static_cast<float>(c) - 7.0f;
      x[5 * cols + 40] = -0.0f;
      Encode(kind, x, search, &tensor);
      const std::vector<float> row = tensor.Row(5);
      for (uint64_t c = 32; c < cols; ++c) REQUIRE(row[c] == 0.0f);

      // The whole range of magnitudes, a block each, in a row each: finite, and no worse than zero.
      const float sizes[] = {1e-45f,  1e-40f, 1.2e-38f, 1e-30f, 1e-8f,   3e-5f,  1.0f,
                             3000.0f, 6e4f,   1e6f,     1e20f,  8.5e37f, 3.4e38f};
      for (const float size : sizes) {
        CAPTURE(size);
        if (kind.dtype == DType::kF16 && size > 65504) continue;
        if (kind.dtype == DType::kInt8 && size > 8e6f) continue;
        if (kind.dtype == DType::kBF16 && size > 3.38e38f) continue;
        if (kind.offset == BlockOffset::kMin && size > 65504) continue;
        if (Info(kind.dtype).block_scale_bytes == 1 && size > 8.5e37f) continue;
        if (kind.dtype == DType::kInt4a && size > 8.5e37f) continue;
        Random random{6};
        std::fill(x.begin(), x.end(), 0.0f);
        for (uint64_t c = 0; c < 64; ++c) {
          x[c] = static_cast<float>(size * (2 * random.Uniform() - 1));
        }
        x[3] = size;
        Encode(kind, x, search, &tensor);
        const std::vector<float> got = tensor.Row(0);
        for (uint64_t c = 0; c < cols; ++c) {
          REQUIRE(std::isfinite(got[c]));
          // Half a step of the coarsest table of 16 entries is below a fifth of the largest
          // magnitude, of 8 entries below a quarter. What is kept in f16 has steps of 2^-24.
          const bool half = kind.dtype == DType::kF16 || kind.dtype == DType::kInt8 ||
                            kind.offset == BlockOffset::kMin;
          const double smallest = half ? 0x1p-25 : kind.dtype == DType::kBF16 ? 0x1p-134 : 0x1p-149;
          const double bound = (kind.dtype == DType::kInt3 ? 0.25 : 0.2) * size + smallest;
          REQUIRE(std::fabs(double{got[c]} - x[c]) <= bound);
        }
      }
    }
  }
}

TEST_CASE("encode: an outlier does not harm its neighbours' blocks") {
  Random random{7};
  std::vector<float> x = random.Normals(16 * 128);
  x[40] = 300.0f;  // in the second block of 32 of row 0
  for (const Kind& kind : kKinds) {
    CAPTURE(std::string(Info(kind.dtype).name));
    Tensor tensor(Layout(kind.dtype, 16, 128, kind.offset));
    Encode(kind, x, true, &tensor);
    const std::vector<float> got = tensor.Row(0);
    // int4's 8-bit scale next to one a hundred times as large has one or two steps.
    for (uint64_t c = 64; c < 128; ++c) CHECK(std::fabs(got[c] - x[c]) < 1.5);
    CHECK(std::fabs(got[40] - 300.0f) < 25);
  }
}

TEST_CASE("encode: vectors") {
  const std::vector<float> x = {0.0f, -1.5f, 65504.0f, 1e-8f, 0.1f};
  std::vector<uint8_t> out(4 * x.size());
  REQUIRE(EncodeVector(DType::kF32, x.data(), x.size(), out.data()) == kEncoded);
  CHECK(std::memcmp(out.data(), x.data(), 4 * x.size()) == 0);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    REQUIRE(EncodeVector(dtype, x.data(), x.size(), out.data()) == kEncoded);
    for (size_t i = 0; i < x.size(); ++i) {
      uint16_t got;
      std::memcpy(&got, out.data() + 2 * i, 2);
      CHECK(got == (dtype == DType::kF16 ? F32ToF16(x[i]) : F32ToBF16(x[i])));
    }
  }
  const std::vector<float> bad = {1.0f, 70000.0f, kNan};
  CHECK(EncodeVector(DType::kF16, bad.data(), 3, out.data()) == 1);
  CHECK(EncodeVector(DType::kF32, bad.data(), 3, out.data()) == 2);
}

TEST_CASE("packed 3 and 6 bits decode to the codes") {
  constexpr size_t cols = 64, kBlock = 16;
  Random random{7};
  for (const DType dtype : {DType::kInt3, DType::kInt6}) {
    for (const size_t rows : {16, 5}) {
      const bool is3 = dtype == DType::kInt3;
      Tensor tensor(Layout(dtype, rows, cols));
      const TilePlanes planes = PlanesAt(tensor.layout, tensor.data, 0);
      if (is3) WriteTable(kUnsignedTable, tensor.data);
      std::fill_n(planes.row_scales, 16, 1.0f);
      std::fill_n(planes.block_scales, tensor.layout.block_scales_tile, uint8_t{1});
      std::vector<uint8_t> codes(cols * 16);
      for (uint8_t& code : codes) code = static_cast<uint8_t>(random.Uniform() * (is3 ? 8 : 64));
      const auto pack = [&](size_t n) {
        for (size_t b = 0; b < cols / kBlock; ++b) {
          const uint8_t* block = codes.data() + b * kBlock * 16;
          if (is3) {
            PackThrees(block, n, rows, b % 2, planes.codes + b / 2 * 192);
          } else {
            PackSixes(block, n, rows, planes.codes + b * 192);
          }
        }
      };
      for (const size_t n : {kBlock, kBlock - 1, size_t{0}}) {
        pack(n);
        for (size_t r = 0; r < rows; ++r) {
          const std::vector<float> row = tensor.Row(r);
          for (size_t c = 0; c < cols; ++c) {
            const int want = c % kBlock < n ? codes[c * 16 + r] : 0;
            REQUIRE(row[c] == static_cast<float>(is3 ? want : want - 32));
          }
        }
        // Rows that are missing, and after n = 0 everything, are zero bytes.
        for (size_t i = 0; i < tensor.layout.codes_tile; ++i) {
          if (n == 0 || i % 64 / 4 >= rows) REQUIRE(planes.codes[i] == 0);
        }
      }
    }
  }
}

TEST_CASE("pack: THUDM's per-row codes are kept bit for bit") {
  Random random{8};
  const uint64_t rows = 37, cols = 172;
  std::vector<int8_t> codes4(rows * cols), codes8(rows * cols);
  for (int8_t& code : codes4) code = static_cast<int8_t>(random.Uniform() * 16 - 8);
  for (int8_t& code : codes8) {
    code = static_cast<int8_t>(std::floor(random.Uniform() * 255) - 127);
  }
  codes4[0] = -8, codes4[1] = 7, codes8[0] = -127, codes8[1] = 127;
  std::vector<float> scales(rows);
  for (float& scale : scales) scale = F16ToF32(F32ToF16(static_cast<float>(random.Uniform() / 50)));
  scales[3] = F16ToF32(1);  // a denormal half
  scales[4] = 0.0f;
  scales[5] = 65504.0f;

  Tensor int4(Layout(DType::kInt4, rows, cols)), int8(Layout(DType::kInt8, rows, cols));
  WriteTable(kLinearTable, int4.data);
  REQUIRE(PackInt4Rows(int4.layout, codes4.data(), scales.data(), rows,
                       PlanesAt(int4.layout, int4.data, 0)) == kEncoded);
  REQUIRE(PackInt8Rows(int8.layout, codes8.data(), scales.data(), rows,
                       PlanesAt(int8.layout, int8.data, 0)) == kEncoded);
  const Naive naive{int4.layout, int4.data};
  for (uint64_t r = 0; r < rows; ++r) {
    const std::vector<float> row4 = int4.Row(r), row8 = int8.Row(r);
    for (uint64_t c = 0; c < cols; ++c) {
      REQUIRE(row4[c] == static_cast<float>(codes4[r * cols + c]) * scales[r]);
      REQUIRE(row8[c] == static_cast<float>(codes8[r * cols + c]) * scales[r]);
      REQUIRE(row4[c] == naive.Value(r, c));
    }
  }
  for (uint64_t c = cols; c < 192; ++c) CHECK(naive.Code4(int4.layout.codes, 0, c, 32) == 0);

  // Bands give the same bytes.
  Tensor again(int4.layout);
  std::memcpy(again.data, int4.data, int4.layout.bytes);
  std::memset(again.data + int4.layout.codes, 0xaa, int4.layout.bytes - int4.layout.codes);
  for (const uint64_t first : {16, 0}) {
    CHECK(PackInt4Rows(again.layout, codes4.data() + first * cols, scales.data() + first,
                       first == 0 ? 16 : rows - 16,
                       PlanesAt(again.layout, again.data, first / 16)) == kEncoded);
  }
  CHECK(again == int4);
}

TEST_CASE("pack: bad codes and scales are reported by index") {
  const uint64_t rows = 20, cols = 40;
  std::vector<int8_t> codes(rows * cols, 1);
  std::vector<float> scales(rows, 0.5f);
  Tensor int4(Layout(DType::kInt4, rows, cols)), int8(Layout(DType::kInt8, rows, cols));
  const auto pack4 = [&] {
    return PackInt4Rows(int4.layout, codes.data(), scales.data(), rows,
                        PlanesAt(int4.layout, int4.data, 0));
  };
  const auto pack8 = [&] {
    return PackInt8Rows(int8.layout, codes.data(), scales.data(), rows,
                        PlanesAt(int8.layout, int8.data, 0));
  };
  CHECK(pack4() == kEncoded);
  CHECK(pack8() == kEncoded);
  codes[17 * cols + 35] = 8;
  CHECK(pack4() == 17 * cols + 35);
  CHECK(pack8() == kEncoded);
  codes[17 * cols + 35] = -128;
  CHECK(pack8() == 17 * cols + 35);
  codes[17 * cols + 35] = 0;
  scales[18] = 0.1f;  // not a half
  CHECK(pack4() == kEncoded);
  CHECK(pack8() == 18 * cols);
  scales[18] = kInf;
  CHECK(pack4() == 18 * cols);
  CHECK(pack8() == 18 * cols);
}

TEST_CASE("pack: int4a from given codes, scales and offsets") {
  Random random{9};
  const uint64_t rows = 18, cols = 70;
  const Int4Table iq4 = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  for (const BlockOffset offset : {BlockOffset::kNone, BlockOffset::kZero, BlockOffset::kMin}) {
    CAPTURE(std::string(Name(offset)));
    Tensor tensor(Layout(DType::kInt4a, rows, cols, offset));
    const uint64_t entries = rows * tensor.layout.blocks;
    std::vector<uint8_t> codes(rows * cols);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.Uniform() * 16);
    std::vector<float> scales = random.Normals(entries);
    std::vector<int8_t> zeros(entries);
    std::vector<uint16_t> mins(entries);
    for (uint64_t i = 0; i < entries; ++i) {
      zeros[i] = static_cast<int8_t>(random.Uniform() * 256 - 128);
      mins[i] = F32ToF16(static_cast<float>(random.Normal()));
    }
    const Int4aParts parts{codes.data(), scales.data(), zeros.data(), mins.data()};
    const auto pack = [&] {
      return PackInt4a(tensor.layout, parts, rows, PlanesAt(tensor.layout, tensor.data, 0));
    };
    WriteTable(iq4, tensor.data);
    REQUIRE(pack() == kEncoded);
    const Naive naive{tensor.layout, tensor.data};
    for (uint64_t r = 0; r < rows; ++r) {
      const std::vector<float> row = tensor.Row(r);
      for (uint64_t c = 0; c < cols; ++c) {
        const uint64_t entry = r * tensor.layout.blocks + c / 32;
        const int value = iq4[codes[r * cols + c]];
        float want = scales[entry] * static_cast<float>(value);
        if (offset == BlockOffset::kZero) {
          want = scales[entry] * static_cast<float>(value - zeros[entry]);
        }
        if (offset == BlockOffset::kMin) want = want + F16ToF32(mins[entry]);
        REQUIRE(row[c] == want);
        REQUIRE(naive.Value(r, c) == want);
      }
    }
    codes[5 * cols + 33] = 16;
    CHECK(pack() == 5 * cols + 33);
    codes[5 * cols + 33] = 0;
    scales[17 * 3 + 2] = kNan;
    CHECK(pack() == 17 * cols + 64);
    scales[17 * 3 + 2] = 1.0f;
    mins[16 * 3 + 1] = 0x7c00;
    CHECK(pack() == (offset == BlockOffset::kMin ? 16 * cols + 32 : kEncoded));
  }
}
