#include "lib/ops/matmul.h"

#include <algorithm>

#include "lib/error.h"

namespace glint {
namespace {

// By DType.
constexpr struct {
  DType dtype;
  MatmulKernel kernel;
} kMatmuls[kDTypeCount] = {
    {DType::kU8, {nullptr, nullptr}},
    {DType::kI32, {nullptr, nullptr}},
    {DType::kF32, {nullptr, &KernelTable::matmul_f32}},
    {DType::kF16, {nullptr, &KernelTable::matmul_f16}},
    {DType::kBF16, {nullptr, &KernelTable::matmul_bf16}},
    {DType::kInt8, {&KernelTable::matmul_int8, nullptr}},
    {DType::kInt4, {&KernelTable::matmul_int4, nullptr}},
    {DType::kInt4x, {&KernelTable::matmul_int4x, nullptr}},
    {DType::kInt4a, {&KernelTable::matmul_int4a, nullptr}},
    {DType::kInt3, {&KernelTable::matmul_int3, nullptr}},
    {DType::kInt6, {&KernelTable::matmul_int6, nullptr}},
};

}  // namespace

const MatmulKernel& MatmulOf(const MatrixView& matrix) {
  return kMatmuls[static_cast<size_t>(matrix.layout.dtype)].kernel;
}

// The kernels of int4, int4x and int3 add 64 to a table entry and need 7 bits
// (simd/kernels/int_dot-inl.h).
void CheckTable(const MatrixView& matrix, const std::string& name) {
  const DType dtype = matrix.layout.dtype;
  const bool is3 = dtype == DType::kInt3;
  if (dtype != DType::kInt4 && dtype != DType::kInt4x && !is3) return;
  for (size_t i = 0; i < (is3 ? 8u : 16u); ++i) {
    const int entry = matrix.Table()[i];
    if (entry >= -64 && entry <= 63) continue;
    throw Error("tensor " + Quoted(name) + ": table entry " + std::to_string(i) +
                ": expected -64 to 63, found " + std::to_string(entry));
  }
}

size_t TilesPerTask(uint64_t tiles, size_t n_threads) {
  const uint64_t share = tiles / (n_threads * 8);
  return std::clamp<uint64_t>(share / 2 * 2, 2, kMaxTaskTiles);
}

MatrixView TilesOf(const MatrixView& matrix, size_t begin, size_t end) {
  MatrixView part = matrix;
  MatrixLayout& layout = part.layout;
  layout.row_scales += begin * layout.row_scales_tile;
  layout.block_scales += begin * layout.block_scales_tile;
  layout.block_offsets += begin * layout.block_offsets_tile;
  layout.codes += begin * layout.codes_tile;
  layout.row_tiles = end - begin;
  layout.rows = std::min<uint64_t>(layout.rows, end * kTileRows) - begin * kTileRows;
  return part;
}

}  // namespace glint
