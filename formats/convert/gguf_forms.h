#pragma once
#include <cstdint>

#include "formats/import/gguf_types.h"
#include "quant/encode.h"

namespace glint {

// A row of a quantized GGUF type, unpacked (GgmlCoding).
struct GgmlRow {
  uint8_t* codes;   // (cols); packers may change them
  float* scales;    // (cols / shared)
  float* minimums;  // the same, where the type has them
  float* steps;     // as many, for the packers' own use
};

// What a quantized GGUF type becomes, and how a row of it gets there.
struct GgufForm {
  const char* type;  // of GGUF
  DType dtype;
  BlockOffset offset;
  const Int4Table* table;  // null: the type has none
  // Writes lane `lane` of one tile. All scales and minimums are finite. False if one of them is
  // beyond what the type can hold. Allocates nothing, thread-safe.
  bool (*pack)(const GgmlCoding& coding, const MatrixLayout& layout, const GgmlRow& row,
               uint64_t lane, TilePlanes tile);
};

// The form of a type that has a coding. The choices and what they cost are in docs/QUANT.md.
const GgufForm& FormOf(const GgmlType& type);

}  // namespace glint
