#include "quant/dtype.h"

namespace glint {
namespace {

constexpr bool kMatrix = true, kVector = true, kTable = true, kRowScales = true, kNo = false;

// In the order of the enumeration. To add a type: a row here, a decoder in layout.cc, an encoder.
constexpr DTypeInfo kTypes[kDTypeCount] = {
    // dtype         name     matrix   vector  elem block unit codes scale table   row_scales
    {DType::kU8, "u8", kNo, kVector, 1, 1, 1, 0, 0, kNo, kNo},
    {DType::kI32, "i32", kNo, kVector, 4, 1, 1, 0, 0, kNo, kNo},
    {DType::kF32, "f32", kMatrix, kVector, 4, 1, 1, 64, 0, kNo, kNo},
    {DType::kF16, "f16", kMatrix, kVector, 2, 1, 1, 32, 0, kNo, kNo},
    {DType::kBF16, "bf16", kMatrix, kVector, 2, 1, 1, 32, 0, kNo, kNo},
    {DType::kInt8, "int8", kMatrix, kNo, 0, 32, 32, 512, 2, kNo, kNo},
    {DType::kInt4, "int4", kMatrix, kNo, 0, 32, 32, 256, 1, kTable, kRowScales},
    {DType::kInt4x, "int4x", kMatrix, kNo, 0, 16, 32, 256, 1, kTable, kRowScales},
    {DType::kInt4a, "int4a", kMatrix, kNo, 0, 32, 32, 256, 4, kTable, kNo},
    {DType::kInt3, "int3", kMatrix, kNo, 0, 16, 32, 192, 1, kTable, kRowScales},
    {DType::kInt6, "int6", kMatrix, kNo, 0, 16, 32, 384, 1, kNo, kRowScales},
};

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    if (kTypes[i].dtype != static_cast<DType>(i)) return false;
  }
  return true;
}
static_assert(RowsAreInOrder());

constexpr const char* kOffsetNames[kBlockOffsetCount] = {"none", "zero", "min"};

}  // namespace

const DTypeInfo& Info(DType dtype) {
  return kTypes[static_cast<size_t>(dtype)];
}

bool ParseDType(std::string_view name, DType* dtype) {
  for (const DTypeInfo& info : kTypes) {
    if (name != info.name) continue;
    *dtype = info.dtype;
    return true;
  }
  return false;
}

const char* Name(BlockOffset offset) {
  return kOffsetNames[static_cast<size_t>(offset)];
}

bool ParseBlockOffset(std::string_view name, BlockOffset* offset) {
  for (size_t i = 0; i < kBlockOffsetCount; ++i) {
    if (name != kOffsetNames[i]) continue;
    *offset = static_cast<BlockOffset>(i);
    return true;
  }
  return false;
}

}  // namespace glint
