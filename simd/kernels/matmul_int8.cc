#include "simd/kernels/matmul_slab-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

struct Int8Weights {
  static constexpr size_t kHalves = 1, kParts = 1, kLines = 8, kScaleBytes = 2;
  static constexpr bool kSmall = false, kIntegerScales = false;
  static constexpr BlockOffset kOffset = BlockOffset::kNone;
  static constexpr int kDirectOffset = kWeightOffset<kSmall>;

  HWY_INLINE void Set(const MatrixView&, int) {}
  template <int kOffset>
  HWY_INLINE Bytes Quad(const uint8_t* codes, size_t, size_t quad) const {
    const Bytes code = LoadCodes(codes + quad * 64);
    return kOffset == 0 ? code : AddBytes(code, SetBytes(kOffset));
  }
  static HWY_INLINE Floats LoadScale(const uint8_t* p) { return LoadF16AsFloats(p); }
};

}  // namespace

void MatmulInt8(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunQuantized(QuantizedMatmul<Int8Weights>{w, x, bias, y, y_stride}, m, tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
