#pragma once
#include <optional>

#include "formats/convert/source_model.h"
#include "formats/import/checkpoint.h"

namespace glint {

// A matrix of a checkpoint, in floats or in THUDM's integers (quantization.py: a scale per row; int4
// keeps column 2j in the high nibble of byte j and column 2j + 1 in the low, both signed).
class SourceMatrix {
 public:
  // Throws Error unless `name` is there with this shape, or with THUDM's form of it. The checkpoint
  // must outlive the object.
  SourceMatrix(const Checkpoint& checkpoint, const std::string& name, uint64_t rows, uint64_t cols);

  // The type that holds the checkpoint's numbers exactly.
  DType stored() const { return stored_; }
  // How to fill a matrix of that type with its integers; none if it has floats.
  std::optional<NativeForm> Native() const;
  ReadRows Rows() const;
  std::string Place() const;  // "file: tensor 'x'"

 private:
  void ReadCodes(uint64_t row, uint64_t n_rows, int8_t* codes, float* scales) const;
  void ReadRowsF32(uint64_t row, uint64_t n_rows, float* out) const;

  const Checkpoint* checkpoint_;
  const SourceTensor* tensor_;
  const SourceTensor* scale_ = nullptr;
  uint64_t cols_;
  DType stored_;
};

// Whether two tensors of a checkpoint hold the same bytes. Reads no further than the first difference.
bool SameContents(const Checkpoint& checkpoint, const SourceTensor& a, const SourceTensor& b);

}  // namespace glint
