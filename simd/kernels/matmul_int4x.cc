#include "simd/kernels/matmul_quantized-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

struct Int4xWeights : TableUnpack {
  static constexpr size_t kHalves = 2, kScaleBytes = 1;
  static constexpr bool kSmall = true, kRowScales = true;
  static constexpr BlockOffset kOffset = BlockOffset::kNone;

  static HWY_INLINE Floats LoadScale(const uint8_t* p) { return LoadInt8AsFloats(p); }
};

// Two integer sums per block live at once: fewer tokens fit the registers.
constexpr size_t kTokens = kMaxTokens < 3 ? kMaxTokens : 3;

}  // namespace

void MatmulInt4x(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
  const Int4xWeights type{{LoadWeightTable<Int4xWeights::kSmall>(w.Table())}};
  const QuantizedMatmul<Int4xWeights> kernel{w, x, bias, y, y_stride, type};
  RunGroups<kTokens>(kernel, w, m, tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
