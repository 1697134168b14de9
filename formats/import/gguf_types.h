#pragma once
#include <cstddef>
#include <cstdint>

namespace glint {

// A storage type of GGUF tensors, in blocks of `block_elements` consecutive numbers of a row.
struct GgmlType {
  const char* name;         // "Q4_K", as ggml calls it
  uint32_t block_elements;  // 0: taken out of the format, its size is not known
  uint32_t block_bytes;
  // `blocks` blocks at `from` (any alignment) as blocks * block_elements f32; null: glint cannot
  // read this type. The formulas are in docs/QUANT.md ("GGUF"). Cannot fail, thread-safe.
  void (*decode)(const uint8_t* from, size_t blocks, float* out);
};

// The type with this number in a file; null if there is none. Source: enum ggml_type of
// ggml/docs/gguf.md.
const GgmlType* FindGgmlType(uint32_t id);

}  // namespace glint
