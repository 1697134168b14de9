#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/dtype.h"
#include "quant/encode.h"

// What the codes of a block stand for, and the searches on one block of 16 rows: its best scale,
// and the nearest codes. One interface for tables of 16 and of 8 entries and for equal steps, so
// that encoders and GPTQ need not know which they have. All functions are pure, and their results
// are the same on every machine (see encode_tile.h).
namespace glint {

// The widest block, in columns.
inline constexpr size_t kLargestBlock = 32;

// The values of codes 0..n_codes-1, rising.
struct Codebook {
  // The first n entries of the table, 8 or 16. They rise and lie in -63..63.
  Codebook(const Int4Table& table, size_t n);
  // low, low + 1, ... of n codes.
  static Codebook Linear(int low, size_t n);
  // The codebook of a type that has one: the table of int3, int4, int4x, int4a; int6 is linear.
  static Codebook Of(DType dtype, const Int4Table& table);

  float Value(size_t code) const { return values[code]; }

  size_t n_codes;
  float first, last;  // the ends
  float values[64];
  // Tables only. On a grid of half steps, a grid point above threshold i adds step i to the value:
  // thresholds lie between entries, so nothing is lost. Each is repeated for 16 rows.
  bool is_linear = false;
  int8_t thresholds[15][kTileRows], steps[15][kTileRows];

 private:
  Codebook() = default;
};

// One block of a tile: columns of 16 rows each, and what an error in a column costs.
struct WeightedBlock {
  size_t n = 0;  // columns, 0..32
  // Each row times its factor (NormalizerOf), so that its largest magnitude lies in [1, 4) or so.
  float x[kLargestBlock * kTileRows];         // [n][16]
  float weights[kLargestBlock];               // [n], the largest in [1, 2); all 1: unweighted
  float weighted[kLargestBlock * kTileRows];  // [n][16]: weights times x
  bool is_weighted = false;                   // the weights differ
  // Sets `weighted` and `is_weighted`, once x and weights are there.
  void Weigh();
};

// Per row, the weighted sums of x * t and t * t, t being the value nearest to x * to_value. The
// scale xt / tt is then the best one for these codes; a scale s of theirs has the weighted squared
// error sum(x * x) + s * (s * tt - 2 * xt).
struct Products {
  float xt[kTileRows], tt[kTileRows];
};
void SumProducts(const Codebook& book, const WeightedBlock& block, const float* to_value,
                 Products* sums);

// Scales of a block without regard to how a scale is stored: per row the one of least weighted
// error found (search), or the one that just holds the largest magnitude. A negative scale mirrors
// the codebook. A row whose values are all tiny (below 2^-60) gets 0.
void FindScales(const Codebook& book, const WeightedBlock& block, bool search, float* scales);

// Integer scales: per row the k in -127..127, such that k * row_scale is near `wanted`, of least
// weighted error with the codes that it gives (search), or the nearest. `sums` is what belongs to
// the scales chosen; 0 without a search.
void ChooseIntegerScales(const Codebook& book, const WeightedBlock& block, const float* row_scales,
                         const float* wanted, bool search, float* chosen, Products* sums);

// Codes of n columns (any number) when a value is scale * Value(code): [n][16].
void NearestCodes(const Codebook& book, const float* x /* [n][16] */, size_t n, const float* scales,
                  uint8_t* codes);

}  // namespace glint
