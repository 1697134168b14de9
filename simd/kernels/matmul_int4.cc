#include "simd/kernels/matmul_slab-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

struct Int4Weights : TableUnpack<1, true> {
  static constexpr size_t kScaleBytes = 1;
  static constexpr bool kIntegerScales = true;
  static constexpr BlockOffset kOffset = BlockOffset::kNone;

  static HWY_INLINE IntVec LoadScale(const uint8_t* p) { return LoadInt8AsInts(p); }
};

}  // namespace

void MatmulInt4(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  const QuantizedMatmul<Int4Weights> kernel{w, x, bias, y, y_stride};
  RunQuantized(kernel, m, tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
