#include "quant/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "quant/f16.h"

namespace glint {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian");

constexpr uint64_t kMaxBytes = uint64_t{1} << 62;
constexpr uint64_t kPartAlignment = 64;
constexpr uint64_t kTableBytes = 64;  // 16 entries and padding
constexpr uint8_t kOffsetBytes[kBlockOffsetCount] = {0, 1, 2};

// Arithmetic that remembers whether a result passed kMaxBytes. Operands stay at or below it.
struct Checked {
  bool ok = true;

  uint64_t Fit(uint64_t value) {
    if (value <= kMaxBytes) return value;
    ok = false;
    return 0;
  }
  uint64_t Add(uint64_t a, uint64_t b) { return Fit(a + b); }
  uint64_t Mul(uint64_t a, uint64_t b) {
    if (a == 0 || b <= kMaxBytes / a) return a * b;
    ok = false;
    return 0;
  }
  uint64_t RoundUp(uint64_t a, uint64_t unit) { return Mul((Fit(a) + unit - 1) / unit, unit); }
};

}  // namespace

bool ComputeLayout(DType dtype, BlockOffset offset, uint64_t rows, uint64_t cols,
                   MatrixLayout* layout) {
  const DTypeInfo& info = Info(dtype);
  if (rows == 0 || cols == 0 || !info.is_matrix) return false;
  if (offset != BlockOffset::kNone && dtype != DType::kInt4a) return false;
  Checked math;
  MatrixLayout l;
  l.dtype = dtype;
  l.offset = offset;
  l.rows = rows;
  l.cols = cols;
  l.row_tiles = math.RoundUp(rows, kTileRows) / kTileRows;
  l.padded_cols = math.RoundUp(cols, info.column_unit);
  if (info.block > 1) l.blocks = l.padded_cols / info.block;
  if (info.has_row_scales) l.row_scales_tile = kTileRows * sizeof(float);
  l.block_scales_tile = math.Mul(l.blocks, kTileRows * info.block_scale_bytes);
  l.block_offsets_tile = math.Mul(l.blocks, kTileRows * kOffsetBytes[static_cast<size_t>(offset)]);
  l.codes_tile = math.Mul(l.padded_cols / info.column_unit, info.code_bytes);

  // Each part starts where the one before ended, rounded up.
  uint64_t end = info.has_table ? kTableBytes : 0;
  const auto place = [&](uint64_t tile_bytes) {
    const uint64_t start = math.RoundUp(end, kPartAlignment);
    end = math.Add(start, math.Mul(l.row_tiles, tile_bytes));
    return start;
  };
  l.row_scales = place(l.row_scales_tile);
  l.block_scales = place(l.block_scales_tile);
  l.block_offsets = place(l.block_offsets_tile);
  l.codes = place(l.codes_tile);
  l.bytes = end;
  if (!math.ok) return false;
  *layout = l;
  return true;
}

namespace {

// Values are read by copy: a row of a float tile or of a plane is not always aligned.
template <typename T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// The row's place in the interleave.
struct RowPlace {
  uint64_t tile;
  size_t lane;
};

template <typename T, typename Convert>
void DecodeFloats(const MatrixView& m, RowPlace at, float* out, Convert convert) {
  const uint8_t* from = m.Codes(at.tile) + at.lane * sizeof(T);
  for (uint64_t c = 0; c < m.layout.cols; ++c, from += kTileRows * sizeof(T)) {
    out[c] = convert(Load<T>(from));
  }
}

void DecodeF32(const MatrixView& m, RowPlace at, float* out) {
  DecodeFloats<float>(m, at, out, [](float x) { return x; });
}

void DecodeF16(const MatrixView& m, RowPlace at, float* out) {
  DecodeFloats<uint16_t>(m, at, out, F16ToF32);
}

void DecodeBF16(const MatrixView& m, RowPlace at, float* out) {
  DecodeFloats<uint16_t>(m, at, out, BF16ToF32);
}

void DecodeInt8(const MatrixView& m, RowPlace at, float* out) {
  const uint8_t* scales = m.BlockScales(at.tile) + at.lane * sizeof(uint16_t);
  const uint8_t* codes = m.Codes(at.tile) + 4 * at.lane;
  for (uint64_t begin = 0; begin < m.layout.cols; begin += 32) {
    const float scale = F16ToF32(Load<uint16_t>(scales));
    const uint64_t n = std::min<uint64_t>(32, m.layout.cols - begin);
    for (uint64_t i = 0; i < n; ++i) {
      const auto code = static_cast<int8_t>(codes[(i / 4) * 64 + i % 4]);
      out[begin + i] = scale * static_cast<float>(code);
    }
    scales += kTileRows * sizeof(uint16_t);
    codes += 512;
  }
}

// Walks a row of a 4-bit type. A block has only 16 values: `values(b, lut)` computes those of block
// b, and the columns look theirs up.
template <size_t kBlock, typename Values>
void DecodeNibbles(const MatrixView& m, RowPlace at, float* out, Values values) {
  constexpr size_t kHalf = kBlock / 2;  // columns in the low nibbles, then as many in the high ones
  const uint8_t* codes = m.Codes(at.tile) + 4 * at.lane;
  float lut[16], block[kBlock];
  for (uint64_t b = 0; b * kBlock < m.layout.cols; ++b, codes += kHalf * kTileRows) {
    values(b, lut);
    for (size_t i = 0; i < kHalf; ++i) {
      const uint8_t pair = codes[(i / 4) * 64 + i % 4];
      block[i] = lut[pair & 15];
      block[kHalf + i] = lut[pair >> 4];
    }
    const uint64_t n = std::min<uint64_t>(kBlock, m.layout.cols - b * kBlock);
    std::memcpy(out + b * kBlock, block, n * sizeof(float));
  }
}

template <size_t kBlock>
void DecodeTable(const MatrixView& m, RowPlace at, float* out) {
  const int8_t* table = m.Table();
  const float row_scale = m.RowScales(at.tile)[at.lane];
  const uint8_t* scales = m.BlockScales(at.tile) + at.lane;
  DecodeNibbles<kBlock>(m, at, out, [&](uint64_t b, float* lut) {
    const int scale = static_cast<int8_t>(scales[b * kTileRows]);
    for (size_t i = 0; i < 16; ++i) lut[i] = static_cast<float>(table[i] * scale) * row_scale;
  });
}

// The codes of one row and block of int3 (layout.h). `shift` selects the block's nibbles.
void UnpackThrees(const uint8_t* codes, size_t shift, uint8_t* out) {
  for (size_t c = 0; c < 4; ++c) {
    unsigned last = 0;
    for (size_t j = 0; j < 3; ++j) {
      const unsigned nibble = codes[64 * j + c] >> shift & 15u;
      const unsigned below = (8u >> j) - 1;  // the bits under the foreign one
      out[4 * j + c] = static_cast<uint8_t>((nibble & below) | (nibble >> 1 & ~below));
      last = last << 1 | (nibble >> (3 - j) & 1);
    }
    out[12 + c] = static_cast<uint8_t>(last);
  }
}

void UnpackSixes(const uint8_t* codes, uint8_t* out) {
  for (size_t c = 0; c < 4; ++c) {
    unsigned last = 0;
    for (size_t j = 0; j < 3; ++j) {
      const unsigned byte = codes[64 * j + c];
      out[4 * j + c] = static_cast<uint8_t>(byte & 63);
      last = last << 2 | byte >> 6;
    }
    out[12 + c] = static_cast<uint8_t>(last);
  }
}

// Walks a row of a type with blocks of 16 and integer scales: `unpack(b, codes)` gets the codes of
// block b, and value(code) is what its scale multiplies.
template <typename Unpack, typename Value>
void DecodeScaled(const MatrixView& m, RowPlace at, float* out, Unpack unpack, Value value) {
  constexpr size_t kBlock = 16;
  const float row_scale = m.RowScales(at.tile)[at.lane];
  const uint8_t* scales = m.BlockScales(at.tile) + at.lane;
  for (uint64_t b = 0; b * kBlock < m.layout.cols; ++b) {
    uint8_t codes[kBlock];
    unpack(b, codes);
    const int scale = static_cast<int8_t>(scales[b * kTileRows]);
    const uint64_t n = std::min<uint64_t>(kBlock, m.layout.cols - b * kBlock);
    for (uint64_t i = 0; i < n; ++i) {
      out[b * kBlock + i] = static_cast<float>(value(codes[i]) * scale) * row_scale;
    }
  }
}

void DecodeInt3(const MatrixView& m, RowPlace at, float* out) {
  const uint8_t* codes = m.Codes(at.tile) + 4 * at.lane;
  const int8_t* table = m.Table();
  DecodeScaled(
      m, at, out,
      [&](uint64_t b, uint8_t* to) { UnpackThrees(codes + b / 2 * 192, b % 2 * 4, to); },
      [&](uint8_t code) { return int{table[code]}; });
}

void DecodeInt6(const MatrixView& m, RowPlace at, float* out) {
  const uint8_t* codes = m.Codes(at.tile) + 4 * at.lane;
  DecodeScaled(
      m, at, out, [&](uint64_t b, uint8_t* to) { UnpackSixes(codes + b * 192, to); },
      [](uint8_t code) { return int{code} - 32; });
}

// Values of one block of int4a by kind of offset; `offset` is the block's entry of the plane.
void ShiftNone(const int8_t* table, float scale, const uint8_t*, float* lut) {
  for (size_t i = 0; i < 16; ++i) lut[i] = scale * static_cast<float>(table[i]);
}

void ShiftZero(const int8_t* table, float scale, const uint8_t* offset, float* lut) {
  const int zero = Load<int8_t>(offset);
  for (size_t i = 0; i < 16; ++i) lut[i] = scale * static_cast<float>(table[i] - zero);
}

void ShiftMin(const int8_t* table, float scale, const uint8_t* offset, float* lut) {
  const float min = F16ToF32(Load<uint16_t>(offset));
  for (size_t i = 0; i < 16; ++i) lut[i] = scale * static_cast<float>(table[i]) + min;
}

using Shift = void (*)(const int8_t* table, float scale, const uint8_t* offset, float* lut);
constexpr Shift kShifts[kBlockOffsetCount] = {ShiftNone, ShiftZero, ShiftMin};

void DecodeInt4a(const MatrixView& m, RowPlace at, float* out) {
  const size_t kind = static_cast<size_t>(m.layout.offset);
  const uint8_t* scales = m.BlockScales(at.tile);
  const uint8_t* offsets = m.BlockOffsets(at.tile);
  DecodeNibbles<32>(m, at, out, [&](uint64_t b, float* lut) {
    const uint64_t entry = b * kTileRows + at.lane;
    kShifts[kind](m.Table(), Load<float>(scales + entry * sizeof(float)),
                  offsets + entry * kOffsetBytes[kind], lut);
  });
}

// By DType. Types that cannot be a matrix have no layout, so none gets here.
using Decode = void (*)(const MatrixView& m, RowPlace at, float* out);
constexpr Decode kDecoders[kDTypeCount] = {
    nullptr,         nullptr,         DecodeF32,   DecodeF16,  DecodeBF16, DecodeInt8,
    DecodeTable<32>, DecodeTable<16>, DecodeInt4a, DecodeInt3, DecodeInt6};

}  // namespace

void DecodeRow(const MatrixView& matrix, uint64_t row, float* out) {
  const RowPlace at{row / kTileRows, static_cast<size_t>(row % kTileRows)};
  kDecoders[static_cast<size_t>(matrix.layout.dtype)](matrix, at, out);
}

}  // namespace glint
