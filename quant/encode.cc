#include "quant/encode.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "quant/encode_tile.h"
#include "quant/f16.h"

namespace glint {
namespace {

// By DType: the encoder of a tile, and the bits of the largest magnitude that it can store.
// Magnitudes order as their bits do, and those of inf and nan come last.
struct Encoder {
  EncodeTile encode;
  uint32_t largest;
};
constexpr uint32_t kLargestFloat = 0x7f7fffff;
constexpr uint32_t kLargestToF16 = 0x477fefff;   // what still rounds to 65504
constexpr uint32_t kLargestToBF16 = 0x7f7f7fff;  // what still rounds to the largest bfloat16
// A fitted scale may put the codebook's end a little above the largest element: leave room for
// that.
constexpr uint32_t kLargestToFit = std::bit_cast<uint32_t>(0x1p126f);
constexpr Encoder kEncoders[kDTypeCount] = {
    {nullptr, 0},
    {nullptr, 0},
    {EncodeF32Tile, kLargestFloat},
    {EncodeF16Tile, kLargestToF16},
    {EncodeBF16Tile, kLargestToBF16},
    {EncodeInt8Tile, std::bit_cast<uint32_t>(65504.0f * 127.0f)},
    {EncodeCodebookTile, kLargestToFit},
    {EncodeCodebookTile, kLargestToFit},
    {EncodeInt4aTile, kLargestToFit},
    {EncodeCodebookTile, kLargestToFit},
    {EncodeCodebookTile, kLargestToFit},
};

uint32_t Magnitude(float x) {
  return std::bit_cast<uint32_t>(x) & 0x7fffffffu;
}

uint32_t LargestMagnitude(const float* x, uint64_t n) {
  uint32_t largest = 0;
  for (uint64_t i = 0; i < n; ++i) largest = std::max(largest, Magnitude(x[i]));
  return largest;
}

uint64_t FirstBeyond(const float* x, uint64_t n, uint32_t largest) {
  for (uint64_t i = 0; i < n; ++i) {
    if (Magnitude(x[i]) > largest) return i;
  }
  return kEncoded;
}

}  // namespace

TilePlanes PlanesAt(const MatrixLayout& layout, uint8_t* tensor, uint64_t tile) {
  const TilePlanes first{reinterpret_cast<float*>(tensor + layout.row_scales),
                         tensor + layout.block_scales, tensor + layout.block_offsets,
                         tensor + layout.codes};
  return Advance(layout, first, tile);
}

TilePlanes Advance(const MatrixLayout& layout, TilePlanes planes, uint64_t tiles) {
  // Nothing is added to the pointer of an absent part, which may be null.
  planes.row_scales += tiles * (layout.row_scales_tile / sizeof(float));
  planes.block_scales += tiles * layout.block_scales_tile;
  planes.block_offsets += tiles * layout.block_offsets_tile;
  planes.codes += tiles * layout.codes_tile;
  return planes;
}

const Int4Table& DefaultTable(DType dtype) {
  return dtype == DType::kInt3 ? kDefaultInt3Table : kDefaultInt4Table;
}

void WriteTable(const Int4Table& table, uint8_t* out) {
  std::memset(out, 0, 64);
  std::memcpy(out, table.data(), table.size());
}

uint64_t EncodeTiles(const MatrixLayout& layout, const EncodeOptions& options, const float* rows,
                     uint64_t n_rows, TilePlanes out) {
  const Encoder& encoder = kEncoders[static_cast<size_t>(layout.dtype)];
  TileRows in = TilesOf(layout.cols, options.importance);
  for (uint64_t row = 0; row < n_rows; row += kTileRows) {
    in.rows = rows + row * in.cols;
    in.n_rows = std::min<uint64_t>(kTileRows, n_rows - row);
    std::fill_n(in.largest, kTileRows, 0.0f);
    for (uint64_t r = 0; r < in.n_rows; ++r) {
      const float* x = in.rows + r * in.cols;
      const uint32_t largest = LargestMagnitude(x, in.cols);
      if (largest > encoder.largest) {
        return (row + r) * in.cols + FirstBeyond(x, in.cols, encoder.largest);
      }
      in.largest[r] = std::bit_cast<float>(largest);
    }
    const uint64_t bad = encoder.encode(layout, options, in, out);
    if (bad != kEncoded) return row * in.cols + bad;
    out = Advance(layout, out, 1);
  }
  return kEncoded;
}

namespace {

void CopyF32(const float* from, uint64_t n, uint8_t* out) {
  std::memcpy(out, from, n * sizeof(float));
}

template <uint16_t (*kConvert)(float)>
void ConvertTo16(const float* from, uint64_t n, uint8_t* out) {
  for (uint64_t i = 0; i < n; ++i) {
    const uint16_t value = kConvert(from[i]);
    std::memcpy(out + i * sizeof value, &value, sizeof value);
  }
}

// By DType.
using EncodeElements = void (*)(const float* from, uint64_t n, uint8_t* out);
constexpr EncodeElements kVectorEncoders[kDTypeCount] = {
    nullptr, nullptr, CopyF32, ConvertTo16<F32ToF16>, ConvertTo16<F32ToBF16>};

}  // namespace

uint64_t EncodeVector(DType dtype, const float* from, uint64_t n, uint8_t* out) {
  const uint32_t largest = kEncoders[static_cast<size_t>(dtype)].largest;
  if (LargestMagnitude(from, n) > largest) return FirstBeyond(from, n, largest);
  kVectorEncoders[static_cast<size_t>(dtype)](from, n, out);
  return kEncoded;
}

}  // namespace glint
