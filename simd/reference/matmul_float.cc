#include <cmath>

#include "quant/f16.h"
#include "simd/fma.h"
#include "simd/kernel_list.h"

namespace glint::reference {
namespace {

float FromF32(float value) {
  return value;
}

// T: the weights' bytes; `decode` makes a float of one.
template <class T, class Decode>
void Matmul(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
            float* y, size_t y_stride, size_t tile_begin, size_t tile_end, Decode decode) {
  for (size_t row = tile_begin * kTileRows; row < tile_end * kTileRows; ++row) {
    if (row >= w.layout.rows) break;
    const T* codes = reinterpret_cast<const T*>(w.Codes(row / kTileRows)) + row % kTileRows;
    for (size_t t = 0; t < m; ++t) {
      float acc = 0;
      for (size_t c = 0; c < w.layout.cols; ++c) {
        acc = Fma(decode(codes[c * kTileRows]), x[t * x_stride + c], acc);
      }
      y[t * y_stride + row] = acc + (bias ? bias[row] : 0.0f);
    }
  }
}

}  // namespace

void MatmulF32(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
               float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul<float>(w, x, x_stride, m, bias, y, y_stride, tile_begin, tile_end, FromF32);
}
void MatmulF16(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
               float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul<uint16_t>(w, x, x_stride, m, bias, y, y_stride, tile_begin, tile_end, F16ToF32);
}
void MatmulBF16(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
                float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul<uint16_t>(w, x, x_stride, m, bias, y, y_stride, tile_begin, tile_end, BF16ToF32);
}

}  // namespace glint::reference
