#pragma once
#include "quant/codebook.h"
#include "quant/encode.h"
#include "quant/lanes.h"

// What the encoders share. A tile's 16 rows are 16 lanes: a block is transposed to [column][16
// rows] and every lane works on its own row, so that no sum crosses lanes and a wider vector gives
// the same bits. There is no fma, and division is IEEE (x86, aarch64), for the same reason.
namespace glint {

// The valid rows of one tile and the largest magnitude of each (0 for the rows that are missing).
struct TileRows {
  const float* rows;  // (n_rows, cols)
  uint64_t n_rows;    // 1..16
  uint64_t cols;
  float largest[kTileRows];
  const float* importance;  // (cols), not all equal; null: they are
  int exponent;  // of the largest importance: that lies in [2^(exponent - 1), 2^exponent)
};

// One encoder per type: one tile, whose elements are finite and within the type's range. Returns
// kEncoded or the index in the tile of the first element that cannot be stored.
using EncodeTile = uint64_t (*)(const MatrixLayout&, const EncodeOptions&, const TileRows&,
                                TilePlanes out);
uint64_t EncodeF32Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeBF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt8Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
// int3, int4, int4x, int6: a codebook, integer block scales and a row scale.
uint64_t EncodeCodebookTile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt4aTile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);

// Columns [begin, begin + n) of the tile as out[n][16], each row times its factor; missing rows are
// 0.
void GatherBlock(const TileRows& in, uint64_t begin, size_t n, const float* factors, float* out);

// Columns and importance of a tile; the rest is for the caller to set.
TileRows TilesOf(uint64_t cols, const float* importance);

// What a block's columns weigh: their importances times a power of two that brings the largest into
// [1, 2), all 1 if all are 0. Returns the block's own weight beside other blocks of the row: the
// inverse of that power, times one that all blocks share.
float BlockWeights(const TileRows& in, uint64_t begin, size_t n, float* weights);

// A power of two that brings `largest` near 1 (to [1, 4), if it is not denormal), and its inverse:
// products with them are exact where the result is normal, and squares neither overflow nor vanish.
struct Normalizer {
  float factor, inverse;
};
Normalizer NormalizerOf(float largest);

// Codes [n][16] of one block of `block` columns to its bytes. Columns from n on and rows from
// n_rows on become zero bytes.
void PackBytes(const int8_t* codes, size_t n, uint64_t n_rows, uint8_t* out);  // 32 columns
void PackNibbles(const uint8_t* codes, size_t n, uint64_t n_rows, size_t block, uint8_t* out);
void PackSixes(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out);  // 16 columns
// A block of 16 columns of int3, which shares its 192 bytes with another: the first (half 0) sets
// them all, the second (half 1), called after it, only its own bits.
void PackThrees(const uint8_t* codes, size_t n, uint64_t n_rows, size_t half, uint8_t* out);

// Codes [n][16] of one unit of columns, n <= 32, to its bytes (DTypeInfo::code_bytes), for the
// types that have a codebook. The same holds for what is missing.
inline constexpr size_t kPackedColumns = 32;
void PackCodes(DType dtype, const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out);

}  // namespace glint
