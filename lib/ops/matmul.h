#pragma once
#include <string>

#include "lib/plan.h"

// What the ops that multiply activations by matrices share.
namespace glint {

// Which kernel multiplies by weights of a type: one of the two, or none for types that are no
// matrices.
struct MatmulKernel {
  decltype(KernelTable::matmul_int8) KernelTable::*quantized;  // of activations as bytes
  decltype(KernelTable::matmul_f32) KernelTable::*floating;
};
const MatmulKernel& MatmulOf(const MatrixView& matrix);

// Throws Error if the matrix has a table whose entries its kernel cannot use.
void CheckTable(const MatrixView& matrix, const std::string& name);

// Tiles of 16 rows per task: several tasks per thread, so that a slow core holds nobody up, in even
// numbers, since wide targets take tiles in pairs. 2 to kMaxTaskTiles.
inline constexpr size_t kMaxTaskTiles = 32;
size_t TilesPerTask(uint64_t tiles, size_t n_threads);

// Tiles [begin, end) of a matrix as one of their own, whose rows begin at 0.
MatrixView TilesOf(const MatrixView& matrix, size_t begin, size_t end);

}  // namespace glint
