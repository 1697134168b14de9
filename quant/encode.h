#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/layout.h"

// From f32 rows, or from another format's codes, to the bytes of a matrix, some tiles at a time: a
// converter never holds a tensor. Every function is pure and allocates nothing; calls on different
// tiles may run at once, and how rows are grouped into calls does not change a byte, provided that
// every call but the last gets a multiple of 16 rows. The bytes are the same on every machine (IEEE
// default rounding, denormals kept). Errors are return values: the caller knows the tensor's name.
namespace glint {

// Where some consecutive tiles of each part go: each pointer is at the first of them and goes on by
// the layout's ..._tile bytes per tile. Pointers of absent parts are ignored.
struct TilePlanes {
  float* row_scales = nullptr;       // (n_tiles, 16)
  uint8_t* block_scales = nullptr;   // (n_tiles, block_scales_tile)
  uint8_t* block_offsets = nullptr;  // (n_tiles, block_offsets_tile)
  uint8_t* codes = nullptr;          // (n_tiles, codes_tile)
};

// The planes from tile `tile` on: of a whole tensor in memory (64-byte aligned), and of other
// planes.
TilePlanes PlanesAt(const MatrixLayout& layout, uint8_t* tensor, uint64_t tile);
TilePlanes Advance(const MatrixLayout& layout, TilePlanes planes, uint64_t tiles);

using Int4Table = std::array<int8_t, 16>;
// The codebook for weights; a signed scale mirrors it. Of all tables tried it is the best
// compromise of normal and heavy-tailed weights at blocks of 32 and of 16 (docs/QUANT.md).
inline constexpr Int4Table kDefaultInt4Table = {-63, -51, -40, -31, -23, -16, -10, -4,
                                                1,   6,   12,  18,  24,  32,  41,  55};
// Equal steps, for codes made without a codebook: signed, and beside a zero point or a minimum.
inline constexpr Int4Table kLinearTable = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
inline constexpr Int4Table kUnsignedTable = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// The codebook of int3: 8 entries, the others 0 (docs/QUANT.md).
inline constexpr Int4Table kDefaultInt3Table = {-63, -37, -21, -8, 3, 15, 31, 55};
// What a type that has a table is encoded with where nothing better is known.
const Int4Table& DefaultTable(DType dtype);

struct EncodeOptions {
  // In rising order; WriteTable puts it into the tensor. Entries of what is encoded here lie in
  // -63..63; int3 has the first 8. int4a with an offset wants kUnsignedTable or another with equal
  // steps.
  Int4Table table = kDefaultInt4Table;
  // Look for the scales of least squared error (int4a: without offset only), or take
  // those that just hold the block's largest magnitude.
  bool search = true;
  // What a squared error in each column costs, (cols), for instance the mean square of the
  // activation that meets it; null: all the same. Finite and not negative, of any scale. A block
  // whose importances are all 0 counts as unweighted. Floats ignore it.
  const float* importance = nullptr;
};

// The 64 bytes that lead a tensor whose type has a table.
void WriteTable(const Int4Table& table, uint8_t* out);

// What the functions below return when all is well; otherwise the index of the first element,
// counted along the rows given, that cannot be stored: inf or nan, or beyond the type's range.
inline constexpr uint64_t kEncoded = UINT64_MAX;

// n_rows rows into ceil(n_rows / 16) tiles. layout.rows does not matter.
uint64_t EncodeTiles(const MatrixLayout& layout, const EncodeOptions& options,
                     const float* rows,  // (n_rows, layout.cols)
                     uint64_t n_rows, TilePlanes out);

// A vector (rank 1) of f32, f16 or bf16: n elements.
uint64_t EncodeVector(DType dtype, const float* from, uint64_t n, uint8_t* out);

// int4 from signed codes -8..7 with a scale per row, exactly: block scales are 1 and the table must
// be kLinearTable. A scale that is inf or nan is reported as its row's first element.
uint64_t PackInt4Rows(const MatrixLayout& layout,
                      const int8_t* codes,      // (n_rows, layout.cols)
                      const float* row_scales,  // (n_rows)
                      uint64_t n_rows, TilePlanes out);

// int8 from codes -127..127 with a scale per row, exactly: every block has the row's scale, which
// must be exact in f16 (otherwise it is reported as its row's first element).
uint64_t PackInt8Rows(const MatrixLayout& layout,
                      const int8_t* codes,      // (n_rows, layout.cols)
                      const float* row_scales,  // (n_rows)
                      uint64_t n_rows, TilePlanes out);

// int4a from codes 0..15 and its block's parts. A scale or minimum that is inf or nan is reported
// as its block's first element.
struct Int4aParts {
  const uint8_t* codes;  // (n_rows, layout.cols)
  const float* scales;   // (n_rows, layout.blocks)
  const int8_t* zeros;   // (n_rows, layout.blocks); kZero only
  const uint16_t* mins;  // (n_rows, layout.blocks), f16; kMin only
};
uint64_t PackInt4a(const MatrixLayout& layout, const Int4aParts& parts, uint64_t n_rows,
                   TilePlanes out);

}  // namespace glint
