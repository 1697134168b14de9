#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/encode_tile.h"
#include "quant/f16.h"

// What other formats quantized, into our layouts without a second rounding.
namespace glint {
namespace {

constexpr size_t kBlock = 32;

// Calls tile(first_row, n_rows_of_tile, planes) for each tile of the band; stops at the first
// error.
template <typename Tile>
uint64_t ForEachTile(const MatrixLayout& layout, uint64_t n_rows, TilePlanes out, Tile tile) {
  for (uint64_t row = 0; row < n_rows; row += kTileRows) {
    const uint64_t bad = tile(row, std::min<uint64_t>(kTileRows, n_rows - row), out);
    if (bad != kEncoded) return bad;
    out = Advance(layout, out, 1);
  }
  return kEncoded;
}

// One block of codes, transposed to [column][16 rows] and shifted by `bias`. Returns the index of
// the first code outside [low, high] or kEncoded.
template <typename From, typename To>
uint64_t GatherCodes(const From* codes, uint64_t cols, uint64_t first_row, uint64_t n_rows,
                     uint64_t begin, size_t n, int low, int high, int bias, To* out) {
  for (uint64_t r = 0; r < n_rows; ++r) {
    const uint64_t start = (first_row + r) * cols + begin;
    for (size_t c = 0; c < n; ++c) {
      const int code = codes[start + c];
      if (code < low || code > high) return start + c;
      out[c * kTileRows + r] = static_cast<To>(code + bias);
    }
  }
  return kEncoded;
}

size_t BlockColumns(const MatrixLayout& layout, uint64_t b) {
  return static_cast<size_t>(std::min<uint64_t>(kBlock, layout.cols - b * kBlock));
}

}  // namespace

uint64_t PackInt4Rows(const MatrixLayout& layout, const int8_t* codes, const float* row_scales,
                      uint64_t n_rows, TilePlanes out) {
  const auto pack_tile = [&](uint64_t row, uint64_t n, TilePlanes at) {
    std::memset(at.row_scales, 0, layout.row_scales_tile);
    std::memset(at.block_scales, 0, layout.block_scales_tile);
    for (uint64_t r = 0; r < n; ++r) {
      if (!std::isfinite(row_scales[row + r])) return (row + r) * layout.cols;
      at.row_scales[r] = row_scales[row + r];
    }
    for (uint64_t b = 0; b < layout.blocks; ++b) {
      uint8_t block[kBlock * kTileRows];
      const size_t columns = BlockColumns(layout, b);
      const uint64_t bad =
          GatherCodes(codes, layout.cols, row, n, b * kBlock, columns, -8, 7, 8, block);
      if (bad != kEncoded) return bad;
      std::memset(at.block_scales + b * kTileRows, 1, n);
      PackNibbles(block, columns, n, kBlock, at.codes + b * kBlock / 2 * kTileRows);
    }
    return kEncoded;
  };
  return ForEachTile(layout, n_rows, out, pack_tile);
}

uint64_t PackInt8Rows(const MatrixLayout& layout, const int8_t* codes, const float* row_scales,
                      uint64_t n_rows, TilePlanes out) {
  const auto pack_tile = [&](uint64_t row, uint64_t n, TilePlanes at) {
    uint16_t scales[kTileRows] = {};
    for (uint64_t r = 0; r < n; ++r) {
      const float scale = row_scales[row + r];
      scales[r] = F32ToF16(scale);
      if (!std::isfinite(scale) || F16ToF32(scales[r]) != scale) return (row + r) * layout.cols;
    }
    for (uint64_t b = 0; b < layout.blocks; ++b) {
      int8_t block[kBlock * kTileRows];
      const size_t columns = BlockColumns(layout, b);
      const uint64_t bad =
          GatherCodes(codes, layout.cols, row, n, b * kBlock, columns, -127, 127, 0, block);
      if (bad != kEncoded) return bad;
      std::memcpy(at.block_scales + b * sizeof scales, scales, sizeof scales);
      PackBytes(block, columns, n, at.codes + b * kBlock * kTileRows);
    }
    return kEncoded;
  };
  return ForEachTile(layout, n_rows, out, pack_tile);
}

namespace {

// The parts of block b of the tile's rows.
uint64_t PackBlockParts(const MatrixLayout& layout, const Int4aParts& parts, uint64_t row,
                        uint64_t n_rows, uint64_t b, TilePlanes at) {
  float scales[kTileRows] = {};
  int8_t zeros[kTileRows] = {};
  uint16_t mins[kTileRows] = {};
  const bool has_zeros = layout.offset == BlockOffset::kZero;
  const bool has_mins = layout.offset == BlockOffset::kMin;
  for (uint64_t r = 0; r < n_rows; ++r) {
    const uint64_t entry = (row + r) * layout.blocks + b;
    scales[r] = parts.scales[entry];
    if (has_zeros) zeros[r] = parts.zeros[entry];
    if (has_mins) mins[r] = parts.mins[entry];
    if (!std::isfinite(scales[r]) || (mins[r] & 0x7c00) == 0x7c00) {
      return (row + r) * layout.cols + b * kBlock;
    }
  }
  std::memcpy(at.block_scales + b * sizeof scales, scales, sizeof scales);
  if (has_zeros) std::memcpy(at.block_offsets + b * sizeof zeros, zeros, sizeof zeros);
  if (has_mins) std::memcpy(at.block_offsets + b * sizeof mins, mins, sizeof mins);
  return kEncoded;
}

}  // namespace

uint64_t PackInt4a(const MatrixLayout& layout, const Int4aParts& parts, uint64_t n_rows,
                   TilePlanes out) {
  const auto pack_tile = [&](uint64_t row, uint64_t n, TilePlanes at) {
    for (uint64_t b = 0; b < layout.blocks; ++b) {
      uint8_t block[kBlock * kTileRows];
      const size_t columns = BlockColumns(layout, b);
      uint64_t bad =
          GatherCodes(parts.codes, layout.cols, row, n, b * kBlock, columns, 0, 15, 0, block);
      if (bad == kEncoded) bad = PackBlockParts(layout, parts, row, n, b, at);
      if (bad != kEncoded) return bad;
      PackNibbles(block, columns, n, kBlock, at.codes + b * kBlock / 2 * kTileRows);
    }
    return kEncoded;
  };
  return ForEachTile(layout, n_rows, out, pack_tile);
}

}  // namespace glint
