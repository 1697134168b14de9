#pragma once
#include <cstdint>

#include "quant/dtype.h"

namespace glint {

// Where the parts of a matrix lie. 16 rows (a tile) are interleaved, so that one lane of a kernel
// owns one row and walks its columns in order. Rows are padded to 16 and columns to the type's
// unit; all padding is zero. Parts follow each other in this order, each starting at a multiple of
// 64 bytes:
//   table         int8 [16] (int3: [8]), padded to 64 bytes    types with a table
//   row_scales    f32 [row_tiles][16]                      types with row scales
//   block_scales  (scale type) [row_tiles][blocks][16]     types with block scales
//   block_offsets i8 (kZero) or f16 (kMin) [row_tiles][blocks][16]
//   codes         [row_tiles][padded_cols / column_unit][code_bytes]
// Codes:
//   f32 f16 bf16  [column][16 rows]
//   int8          per 4 columns: [16 rows][4 columns] signed bytes = 64 bytes
//   int4 int4a    per 32 columns (one block) 4 vectors of 64 bytes; byte 4r+c of vector j holds row
//   r:
//                 low nibble column 4j+c, high nibble column 16+4j+c
//   int4x         per 32 columns two blocks of 16, each 2 vectors of 64 bytes; byte 4r+c of vector
//   j:
//                 low nibble column 4j+c of the block, high nibble column 8+4j+c
//   int3          per 32 columns (two blocks of 16) 3 vectors of 64 bytes; low nibbles belong to
//                 the first block, high ones to the second. Nibble 4r+c of vector j (0, 1, 2) holds
//                 the code of column 4j+c of the block, its 3 bits in order in all bits but 3-j,
//                 and in bit 3-j the bit 2-j of the code of column 12+c.
//   int6          per 16 columns (one block) 3 vectors of 64 bytes; byte 4r+c of vector j (0, 1,
//                 2): low 6 bits the code of column 4j+c of the block; bits 6..7 the bits
//                 4-2j..5-2j of the code of column 12+c
// Scale types: int8 f16; int4, int4x, int3 and int6 signed i8; int4a f32.
struct MatrixLayout {
  DType dtype = DType::kF32;
  BlockOffset offset = BlockOffset::kNone;
  uint64_t rows = 0, cols = 0;
  uint64_t row_tiles = 0;    // ceil(rows / 16)
  uint64_t padded_cols = 0;  // cols rounded up to the column unit
  uint64_t blocks = 0;       // scale blocks of a row: padded_cols / block; 0 for floats
  // Byte offsets of the parts from the tensor's start; an absent part has the offset of the next.
  uint64_t table = 0, row_scales = 0, block_scales = 0, block_offsets = 0, codes = 0;
  // Bytes of one tile in each part; 0 where absent.
  uint64_t row_scales_tile = 0, block_scales_tile = 0, block_offsets_tile = 0, codes_tile = 0;
  uint64_t bytes = 0;  // of the whole tensor
};

// Fills *layout. False if rows or cols is 0, the type cannot hold a matrix or has no such offset,
// or a size overflows 2^62.
bool ComputeLayout(DType dtype, BlockOffset offset, uint64_t rows, uint64_t cols,
                   MatrixLayout* layout);

// A matrix in memory: layout and first byte (64-byte aligned). Does not own. Its functions are
// always inlined, because files compiled for different targets must not share an out-of-line copy.
struct MatrixView {
  MatrixLayout layout;
  const uint8_t* data = nullptr;

  [[gnu::always_inline]] const int8_t* Table() const {
    return reinterpret_cast<const int8_t*>(data + layout.table);
  }
  [[gnu::always_inline]] const float* RowScales(uint64_t tile) const {
    return reinterpret_cast<const float*>(data + layout.row_scales + tile * layout.row_scales_tile);
  }
  [[gnu::always_inline]] const uint8_t* BlockScales(uint64_t tile) const {
    return data + layout.block_scales + tile * layout.block_scales_tile;
  }
  [[gnu::always_inline]] const uint8_t* BlockOffsets(uint64_t tile) const {
    return data + layout.block_offsets + tile * layout.block_offsets_tile;
  }
  [[gnu::always_inline]] const uint8_t* Codes(uint64_t tile) const {
    return data + layout.codes + tile * layout.codes_tile;
  }
};

// Row `row` as f32 into out[layout.cols]. The definition of each type; also what `embedding`
// gathers. Per element, each product and sum rounded to f32 in this order:
//   f32 f16 bf16  the value
//   int8          f32(scale) * code
//   int3 int4 int4x  f32(table[code] * block_scale) * row_scale    (the integer product is exact)
//   int6          f32((code - 32) * block_scale) * row_scale       (as exact)
//   int4a         scale * (table[code] - zero)   or   scale * table[code] + min
void DecodeRow(const MatrixView& matrix, uint64_t row, float* out);

}  // namespace glint
