#include "formats/convert/source_matrix.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "lib/error.h"

namespace glint {
namespace {

// The smallest type of ours that holds the numbers of a source type.
DType FloatTypeOf(SourceType type) {
  if (type == SourceType::kF16) return DType::kF16;
  return type == SourceType::kBF16 ? DType::kBF16 : DType::kF32;
}

}  // namespace

SourceMatrix::SourceMatrix(const Checkpoint& checkpoint, const std::string& name, uint64_t rows,
                           uint64_t cols)
    : checkpoint_(&checkpoint), tensor_(checkpoint.Find(name)), cols_(cols) {
  if (!tensor_) {
    throw Error(checkpoint.path() + ": tensor " + Quoted(name) + " is missing; expected shape " +
                ShapeText({rows, cols}));
  }
  if (tensor_->type == SourceType::kI8) {
    scale_ = checkpoint.Find(name + "_scale");
    if (!scale_) {
      throw Error(Place() + ": is int8, but there is no " + Quoted(name + "_scale"));
    }
    if (scale_->shape != std::vector<uint64_t>{rows}) {
      throw Error(checkpoint.FileName(*scale_) + ": tensor " + Quoted(scale_->name) +
                  ": expected shape " + ShapeText({rows}) + ", found " + ShapeText(scale_->shape));
    }
    stored_ = DType::kInt8;
    if (tensor_->shape == std::vector<uint64_t>{rows, cols}) return;
    stored_ = DType::kInt4;
    if (cols % 2 == 0 && tensor_->shape == std::vector<uint64_t>{rows, cols / 2}) return;
  }
  stored_ = FloatTypeOf(tensor_->type);
  if (tensor_->shape != std::vector<uint64_t>{rows, cols}) {
    throw Error(Place() + ": expected shape " + ShapeText({rows, cols}) + ", found " +
                ShapeText(tensor_->shape));
  }
}

std::string SourceMatrix::Place() const {
  return checkpoint_->FileName(*tensor_) + ": tensor " + Quoted(tensor_->name);
}

void SourceMatrix::ReadCodes(uint64_t row, uint64_t n_rows, int8_t* codes, float* scales) const {
  checkpoint_->ReadF32(*scale_, row, n_rows, scales);
  if (stored_ == DType::kInt8) {
    checkpoint_->ReadRaw(*tensor_, row * cols_, n_rows * cols_, codes);
    return;
  }
  const uint64_t packed = n_rows * cols_ / 2;
  std::vector<uint8_t> bytes(packed);
  checkpoint_->ReadRaw(*tensor_, row * cols_ / 2, packed, bytes.data());
  const auto sign_extend = [](int nibble) { return static_cast<int8_t>((nibble ^ 8) - 8); };
  for (uint64_t i = 0; i < packed; ++i) {
    codes[2 * i] = sign_extend(bytes[i] >> 4);
    codes[2 * i + 1] = sign_extend(bytes[i] & 15);
  }
}

void SourceMatrix::ReadRowsF32(uint64_t row, uint64_t n_rows, float* out) const {
  if (!scale_) {
    checkpoint_->ReadF32(*tensor_, row * cols_, n_rows * cols_, out);
    return;
  }
  std::vector<int8_t> codes(n_rows * cols_);
  std::vector<float> scales(n_rows);
  ReadCodes(row, n_rows, codes.data(), scales.data());
  for (uint64_t i = 0; i < codes.size(); ++i) {
    out[i] = static_cast<float>(codes[i]) * scales[i / cols_];
  }
}

ReadRows SourceMatrix::Rows() const {
  return [self = *this](uint64_t row, uint64_t n, float* out) { self.ReadRowsF32(row, n, out); };
}

std::optional<NativeForm> SourceMatrix::Native() const {
  if (!scale_) return std::nullopt;
  const auto pack = stored_ == DType::kInt4 ? PackInt4Rows : PackInt8Rows;
  NativeForm form;
  form.table = kLinearTable;
  form.fill = [self = *this, pack](const MatrixLayout& layout, uint64_t row, uint64_t n_rows,
                                   TilePlanes planes) {
    std::vector<int8_t> codes(n_rows * self.cols_);
    std::vector<float> scales(n_rows);
    self.ReadCodes(row, n_rows, codes.data(), scales.data());
    const uint64_t bad = pack(layout, codes.data(), scales.data(), n_rows, planes);
    if (bad == kEncoded) return;
    throw Error(self.Place() + ": row " + std::to_string(row + bad / self.cols_) +
                ": a code or its scale is out of range");
  };
  return form;
}

bool SameContents(const Checkpoint& checkpoint, const SourceTensor& a, const SourceTensor& b) {
  if (a.type != b.type || a.shape != b.shape) return false;
  if (a.file == b.file && a.offset == b.offset) return true;
  constexpr uint64_t kElements = 1 << 19;
  std::vector<uint8_t> left(kElements * ElementBytes(a.type)), right(left.size());
  for (uint64_t at = 0; at < a.elements; at += kElements) {
    const uint64_t n = std::min(kElements, a.elements - at);
    checkpoint.ReadRaw(a, at, n, left.data());
    checkpoint.ReadRaw(b, at, n, right.data());
    if (std::memcmp(left.data(), right.data(), n * ElementBytes(a.type)) != 0) return false;
  }
  return true;
}

}  // namespace glint
