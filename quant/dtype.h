#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace glint {

// Storage types of tensors. A file names them by `DTypeInfo::name`; a name is a byte layout for
// ever.
enum class DType : uint8_t {
  kU8, kI32, kF32, kF16, kBF16, kInt8, kInt4, kInt4x, kInt4a, kInt3, kInt6
};
inline constexpr size_t kDTypeCount = 11;

// How an int4a block is shifted away from its table: not at all, by an integer zero point, or by an
// f16 minimum. A field of the tensor, not of the type. Other types have kNone.
enum class BlockOffset : uint8_t { kNone, kZero, kMin };
inline constexpr size_t kBlockOffsetCount = 3;

// Rows (outputs) that every matrix interleaves: the lanes of one 512-bit register of f32.
inline constexpr size_t kTileRows = 16;

// One row of the table of types. Sizes are those of one tile (16 rows).
struct DTypeInfo {
  DType dtype;
  const char* name;           // "f32", "int4", ...
  bool is_matrix;             // may hold a matrix (rank 2, interleaved)
  bool is_vector;             // may hold a vector (rank 1, plain)
  uint8_t element_bytes;      // bytes of an element of a vector; of a column of one row for floats
  uint8_t block;              // columns that share a scale; 1: no scales
  uint8_t column_unit;        // columns are padded to a multiple of this
  uint16_t code_bytes;        // bytes of codes of one tile per column_unit
  uint8_t block_scale_bytes;  // bytes of one block scale of one row; 0: none
  bool has_table;             // a table (64 bytes with padding) leads the tensor
  bool has_row_scales;        // an f32 per row
};

const DTypeInfo& Info(DType dtype);

// The type of that name; false if there is none.
bool ParseDType(std::string_view name, DType* dtype);

const char* Name(BlockOffset offset);  // "none", "zero", "min"
bool ParseBlockOffset(std::string_view name, BlockOffset* offset);

}  // namespace glint
