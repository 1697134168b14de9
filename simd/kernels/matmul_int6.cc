#include "simd/kernels/matmul_slab-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// A block of 16 columns in 3 vectors, each with a quad in its low 6 bits; the upper two bits of the
// three make the fourth quad. A weight is its code - 32, so a code as it is has the offset 32.
struct Int6Weights {
  static constexpr size_t kHalves = 2, kParts = 1, kLines = 6, kScaleBytes = 1;
  static constexpr bool kSmall = true, kIntegerScales = true;
  static constexpr BlockOffset kOffset = BlockOffset::kNone;
  static constexpr int kDirectOffset = kWeightOffset<true> == 0 ? 0 : 32;

  HWY_INLINE void Set(const MatrixView&, int) {}
  template <int kOffset>
  HWY_INLINE Bytes Quad(const uint8_t* codes, size_t half, size_t quad) const {
    const uint8_t* block = codes + half * 192;
    const Bytes code =
        quad < 3 ? LowSixBits(LoadCodes(block + quad * 64))
                 : HighTwoBits(LoadCodes(block), LoadCodes(block + 64), LoadCodes(block + 128));
    return kOffset == 32 ? code : AddBytes(code, SetBytes(kOffset - 32));
  }
  static HWY_INLINE IntVec LoadScale(const uint8_t* p) { return LoadInt8AsInts(p); }
};

}  // namespace

void MatmulInt6(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunQuantized(QuantizedMatmul<Int6Weights>{w, x, bias, y, y_stride}, m, tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
