#pragma once
#include <cstddef>
#include <cstdint>

namespace glint {

// How the blocks of a quantized type are made: element i of a block is
//   scales[i / shared] * f32(level) [+ minimums[i / shared]],
// level = table[codes[i]] or codes[i] - zero; products are exact in f32, the sum rounds.
struct GgmlCoding {
  uint32_t shared;   // consecutive elements that share scale and minimum; divides the block
  bool has_minimum;  // else there is no sum, and `minimums` is left alone
  bool has_table;    // of 16 entries, else `zero` counts
  int zero;
  const int8_t* table;
  // One block at `from` (any alignment).
  void (*unpack)(const uint8_t* from, uint8_t* codes, float* scales, float* minimums);
};

// A storage type of GGUF tensors, in blocks of `block_elements` consecutive numbers of a row.
struct GgmlType {
  const char* name;         // "Q4_K", as ggml calls it
  uint32_t block_elements;  // 0: taken out of the format, its size is not known
  uint32_t block_bytes;
  // `blocks` blocks at `from` (any alignment) as blocks * block_elements f32; null: glint cannot
  // read this type. The formulas are in docs/QUANT.md ("GGUF"). Cannot fail, thread-safe.
  void (*decode)(const uint8_t* from, size_t blocks, float* out);
  const GgmlCoding* coding;  // null: floats, or a type that glint cannot read
};

// The type with this number in a file; null if there is none. Source: enum ggml_type of
// ggml/docs/gguf.md.
const GgmlType* FindGgmlType(uint32_t id);

}  // namespace glint
