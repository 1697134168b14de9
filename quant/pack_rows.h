#pragma once
#include <cstdint>

#include "quant/layout.h"

namespace glint {

// The codes of one row, one byte each, to its lane of a tile: for codes that are chosen already, a
// row at a time and many times as fast as the encoders' transposed blocks. `cols` codes, a multiple
// of the type's column unit, go to a tile of `codes_tile` bytes; other lanes stay as they are, so
// that lanes may come in any order. Codes as bytes: int8 two's complement; int4, int4x, int4a
// 0..15; int3 0..7; int6 0..63. Same bytes as PackCodes (quant/encode_tile.h).
void PackRowCodes(DType dtype, const uint8_t* codes, uint64_t cols, uint64_t lane, uint8_t* tile);

}  // namespace glint
