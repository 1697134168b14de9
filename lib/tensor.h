#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "quant/layout.h"

namespace glint {

// A named, typed view of bytes owned by somebody else (usually the mapped file). Rank 1 is plain;
// rank 2 is a matrix (rows, cols) in the interleaved layout of quant/layout.h.
struct Tensor {
  std::string name;
  DType dtype = DType::kF32;
  BlockOffset offset = BlockOffset::kNone;
  std::vector<uint64_t> shape;    // outermost first
  const uint8_t* data = nullptr;  // 64-byte aligned
  uint64_t bytes = 0;

  bool IsMatrix() const { return shape.size() == 2; }
  template <class T>
  const T* As() const { return reinterpret_cast<const T*>(data); }
};

// Bytes that a tensor of this type and shape takes; false if it cannot exist (see ComputeLayout).
bool TensorBytes(DType dtype, BlockOffset offset, const std::vector<uint64_t>& shape, uint64_t* bytes);

std::string ShapeText(const std::vector<uint64_t>& shape);  // "(384, 128)"

// The matrix view of a rank-2 tensor whose sizes have been checked.
MatrixView ViewOf(const Tensor& tensor);

}  // namespace glint
