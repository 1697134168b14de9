#include "lib/tensor.h"

namespace glint {

// Sizes above this are refused, as in ComputeLayout, so that sums of a few of them cannot wrap.
constexpr uint64_t kMaxBytes = uint64_t{1} << 62;

bool TensorBytes(DType dtype, BlockOffset offset, const std::vector<uint64_t>& shape,
                 uint64_t* bytes) {
  if (shape.size() == 2) {
    MatrixLayout layout;
    if (!ComputeLayout(dtype, offset, shape[0], shape[1], &layout)) return false;
    *bytes = layout.bytes;
    return true;
  }
  const DTypeInfo& info = Info(dtype);
  if (shape.size() != 1 || !info.is_vector || info.element_bytes == 0) return false;
  if (offset != BlockOffset::kNone) return false;
  if (shape[0] == 0 || shape[0] > kMaxBytes / info.element_bytes) return false;
  *bytes = shape[0] * info.element_bytes;
  return true;
}

std::string ShapeText(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "(" + text + ")";
}

MatrixView ViewOf(const Tensor& tensor) {
  MatrixView view;
  if (tensor.shape.size() == 2 &&
      ComputeLayout(tensor.dtype, tensor.offset, tensor.shape[0], tensor.shape[1], &view.layout)) {
    view.data = tensor.data;
  }
  return view;
}

}  // namespace glint
