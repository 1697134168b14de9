#include <cstring>

#include "quant/encode_tile.h"
#include "quant/f16.h"

// f32, f16, bf16: converted to nearest, ties to even, and interleaved: [column][16 rows].
namespace glint {
namespace {

float SameF32(float x) {
  return x;
}

template <typename T, typename Convert>
uint64_t Interleave(const TileRows& in, uint8_t* out, Convert convert) {
  for (uint64_t c = 0; c < in.cols; ++c, out += kTileRows * sizeof(T)) {
    T column[kTileRows] = {};
    for (uint64_t r = 0; r < in.n_rows; ++r) column[r] = convert(in.rows[r * in.cols + c]);
    std::memcpy(out, column, sizeof column);
  }
  return kEncoded;
}

}  // namespace

uint64_t EncodeF32Tile(const MatrixLayout&, const EncodeOptions&, const TileRows& in,
                       TilePlanes out) {
  return Interleave<float>(in, out.codes, SameF32);
}

uint64_t EncodeF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows& in,
                       TilePlanes out) {
  return Interleave<uint16_t>(in, out.codes, F32ToF16);
}

uint64_t EncodeBF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows& in,
                        TilePlanes out) {
  return Interleave<uint16_t>(in, out.codes, F32ToBF16);
}

}  // namespace glint
