#include "lib/check_numbers.h"

#include <cmath>
#include <string>
#include <vector>

#include "formats/glint_file.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "quant/f16.h"
#include "quant/layout.h"

namespace glint {
namespace {

[[noreturn]] void Fail(const GlintFile& file, const Tensor& tensor, const std::string& place, float x) {
  throw Error(file.path() + ": tensor " + Quoted(tensor.name) + ": " + place + ": " +
              std::to_string(x) + ", expected a finite number");
}

void CheckVector(const GlintFile& file, const Tensor& tensor) {
  const auto check = [&](const auto* values, const auto& to_float) {
    for (uint64_t i = 0; i < tensor.shape[0]; ++i) {
      const float x = to_float(values[i]);
      if (!std::isfinite(x)) Fail(file, tensor, "element " + std::to_string(i), x);
    }
  };
  if (tensor.dtype == DType::kF32) check(tensor.As<float>(), [](float x) { return x; });
  if (tensor.dtype == DType::kF16) check(tensor.As<uint16_t>(), F16ToF32);
  if (tensor.dtype == DType::kBF16) check(tensor.As<uint16_t>(), BF16ToF32);
}

void CheckMatrix(const GlintFile& file, const Tensor& tensor) {
  const MatrixView view = ViewOf(tensor);
  std::vector<float> row(view.layout.cols);
  for (uint64_t r = 0; r < view.layout.rows; ++r) {
    DecodeRow(view, r, row.data());
    for (uint64_t c = 0; c < row.size(); ++c) {
      if (std::isfinite(row[c])) continue;
      Fail(file, tensor, "row " + std::to_string(r) + ", column " + std::to_string(c), row[c]);
    }
  }
}

}  // namespace

void CheckNumbers(const GlintFile& file, const std::function<void(double)>& progress) {
  const FpModeScope fp_mode;
  uint64_t done = 0;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    if (!file.TiedTo(i).empty()) continue;
    if (tensor.IsMatrix()) CheckMatrix(file, tensor);
    if (tensor.shape.size() == 1) CheckVector(file, tensor);
    done += tensor.bytes;
    if (progress) progress(static_cast<double>(done) / static_cast<double>(file.bytes()));
  }
  if (!file.Unchanged()) throw Error(file.path() + ": the file changed while it was open");
  if (progress) progress(1.0);
}

}  // namespace glint
