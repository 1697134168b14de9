#include "simd/kernels/matmul_float-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

struct F32Weights {
  using Type = float;
  static HWY_INLINE Floats Load(const float* p) { return hn::LoadU(F32(), p); }
};

struct F16Weights {
  using Type = hwy::float16_t;
  static HWY_INLINE Floats Load(const hwy::float16_t* p) {
    return hn::PromoteTo(F32(), hn::LoadU(hn::Rebind<hwy::float16_t, F32>(), p));
  }
};

// bfloat16 is the upper half of a float.
struct BF16Weights {
  using Type = uint16_t;
  static HWY_INLINE Floats Load(const uint16_t* p) {
    const hn::RebindToUnsigned<F32> d32;
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(U16(), p))));
  }
};

}  // namespace

void MatmulF32(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
               float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunGroups(FloatMatmul<F32Weights>{w, x, x_stride, bias, y, y_stride}, w, m,
                        tile_begin, tile_end);
}
void MatmulF16(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
               float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunGroups(FloatMatmul<F16Weights>{w, x, x_stride, bias, y, y_stride}, w, m,
                        tile_begin, tile_end);
}
void MatmulBF16(const MatrixView& w, const float* x, size_t x_stride, size_t m, const float* bias,
                float* y, size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunGroups(FloatMatmul<BF16Weights>{w, x, x_stride, bias, y, y_stride}, w, m,
                        tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
