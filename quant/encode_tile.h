#pragma once
#include <xsimd/xsimd.hpp>

#include "quant/encode.h"

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
};

// One encoder per type: one tile, whose elements are finite and within the type's range. Returns
// kEncoded or the index in the tile of the first element that cannot be stored.
using EncodeTile = uint64_t (*)(const MatrixLayout&, const EncodeOptions&, const TileRows&,
                                TilePlanes out);
uint64_t EncodeF32Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeBF16Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt8Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt4Tile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt4xTile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);
uint64_t EncodeInt4aTile(const MatrixLayout&, const EncodeOptions&, const TileRows&, TilePlanes);

// Columns [begin, begin + n) of the tile as out[n][16], each row times its factor; missing rows are
// 0.
void GatherBlock(const TileRows& in, uint64_t begin, size_t n, const float* factors, float* out);

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

using Lanes = xsimd::batch<float>;
static_assert(kTileRows % Lanes::size == 0);

// To the nearest integer, ties to even, for |x| < 2^22: the sum has no room for a fraction.
inline Lanes Round(Lanes x) {
  const Lanes magic(12582912.0f);  // 1.5 * 2^23
  return (x + magic) - magic;
}

// The IEEE quotient. xsimd's operator/ is an estimate on NEON, with other bits than elsewhere.
inline Lanes Divide(Lanes a, Lanes b) {
  float quotients[Lanes::size], divisors[Lanes::size];
  a.store_unaligned(quotients);
  b.store_unaligned(divisors);
  for (size_t i = 0; i < Lanes::size; ++i) quotients[i] /= divisors[i];
  return Lanes::load_unaligned(quotients);
}

// 1 / x, or 0 where x is 0.
inline Lanes Reciprocal(Lanes x) {
  const Lanes zero(0.0f), one(1.0f);
  const auto is_zero = x == zero;
  return xsimd::select(is_zero, zero, Divide(one, xsimd::select(is_zero, one, x)));
}

// A table as a sum of steps: x is nearest to first + the steps whose thresholds it passes. A tie
// goes to the lower entry. All values are integers or halves, so every sum of them is exact.
struct Codebook {
  explicit Codebook(const Int4Table& table);

  // The entry nearest to x, and its index.
  Lanes Nearest(Lanes x) const { return Lanes(first) + Passed(x, steps); }
  Lanes Code(Lanes x) const { return Passed(x, ones); }

  float first, last;
  float thresholds[15], steps[15], ones[15];

 private:
  Lanes Passed(Lanes x, const float* amounts) const {
    const Lanes zero(0.0f);
    Lanes a = zero, b = zero, c = zero;  // three chains of additions run side by side
    for (size_t i = 0; i < 15; i += 3) {
      a += xsimd::select(x > Lanes(thresholds[i]), Lanes(amounts[i]), zero);
      b += xsimd::select(x > Lanes(thresholds[i + 1]), Lanes(amounts[i + 1]), zero);
      c += xsimd::select(x > Lanes(thresholds[i + 2]), Lanes(amounts[i + 2]), zero);
    }
    return a + (b + c);
  }
};

// Per lane, the sums over a block of w * t and t * t, t being the entry nearest to w * to_code. The
// scale wt / tt is then the best one for these codes.
struct Products {
  Lanes wt, tt;
};
inline Products SumProducts(const Codebook& book, const float* block, size_t n, Lanes to_code) {
  Products sums{Lanes(0.0f), Lanes(0.0f)};
  for (size_t c = 0; c < n; ++c) {
    const Lanes w = Lanes::load_unaligned(block + c * kTileRows);
    const Lanes t = book.Nearest(w * to_code);
    sums.wt += w * t;
    sums.tt += t * t;
  }
  return sums;
}

// Scales of one block for a codebook, without regard to how a scale is stored: per lane the best of
// each orientation (which end of the table takes the largest element), the better one first. A lane
// whose values are all tiny (below 2^-60) gets 0.
struct BlockScales {
  float scale[2][kTileRows];
};
BlockScales FindScales(const Codebook& book, const float* block /* [n][16] */, size_t n,
                       bool search);

// Codes of a block of n columns when a value is scale * table[code]: [n][16].
void NearestCodes(const Codebook& book, const float* block, size_t n, const float* scales,
                  uint8_t* codes);

}  // namespace glint
