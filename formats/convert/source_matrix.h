#pragma once
#include <optional>

#include "formats/import/checkpoint.h"
#include "formats/convert/model_writer.h"

namespace glint {

// A matrix of a checkpoint, in floats or in THUDM's integers (quantization.py: a scale per row; int4
// keeps column 2j in the high nibble of byte j and column 2j + 1 in the low, both signed).
class SourceMatrix {
 public:
  // Throws Error unless `name` is there with this shape, or with THUDM's form of it. The checkpoint
  // must outlive the object.
  SourceMatrix(const Checkpoint& checkpoint, const std::string& name, uint64_t rows, uint64_t cols);

  // The type that holds the checkpoint's integers exactly; none if it has floats.
  std::optional<DType> native() const { return native_; }
  const SourceTensor& tensor() const { return *tensor_; }

  // How to fill a matrix of this type; exact if it is the native one. Sets the table it needs.
  FillTiles Fill(DType type, bool search, Int4Table* table) const;

 private:
  void ReadCodes(uint64_t row, uint64_t n_rows, int8_t* codes, float* scales) const;
  void ReadRowsF32(uint64_t row, uint64_t n_rows, float* out) const;
  std::string Place() const;

  const Checkpoint* checkpoint_;
  const SourceTensor* tensor_;
  const SourceTensor* scale_ = nullptr;
  uint64_t cols_;
  std::optional<DType> native_;
};

// Whether two tensors of a checkpoint hold the same bytes. Reads no further than the first difference.
bool SameContents(const Checkpoint& checkpoint, const SourceTensor& a, const SourceTensor& b);

}  // namespace glint
