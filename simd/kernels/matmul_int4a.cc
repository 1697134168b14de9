#include "simd/kernels/matmul_slab-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// A table here may hold any signed bytes.
template <BlockOffset kBlockOffset>
struct Int4aWeights : TableUnpack<1, false> {
  static constexpr size_t kScaleBytes = 4;
  static constexpr bool kIntegerScales = false;
  static constexpr BlockOffset kOffset = kBlockOffset;

  static HWY_INLINE Floats LoadScale(const uint8_t* p) {
    return hn::LoadU(F32(), reinterpret_cast<const float*>(p));
  }
};

#if defined(GLINT_SMALL)
// One compilation for all three.
struct AnyInt4aWeights : Int4aWeights<BlockOffset::kMin> {
  BlockOffset kind;

  HWY_INLINE void Set(const MatrixView& w, int offset) {
    TableUnpack::Set(w, offset);
    kind = w.layout.offset;
  }
};
template <>
constexpr bool kAnyOffset<AnyInt4aWeights> = true;
#endif

#if !defined(GLINT_SMALL)
template <BlockOffset kBlockOffset>
void Matmul(const MatrixView& w, const QuantizedRows& x, size_t m, const float* bias, float* y,
            size_t y_stride, size_t tile_begin, size_t tile_end) {
  using W = Int4aWeights<kBlockOffset>;
  const QuantizedMatmul<W> kernel{w, x, bias, y, y_stride};
  RunQuantized(kernel, m, tile_begin, tile_end);
}

// By BlockOffset.
using MatmulFunction = decltype(&Matmul<BlockOffset::kNone>);
constexpr MatmulFunction kByOffset[kBlockOffsetCount] = {
    &Matmul<BlockOffset::kNone>, &Matmul<BlockOffset::kZero>, &Matmul<BlockOffset::kMin>};
#endif

}  // namespace

void MatmulInt4a(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
#if defined(GLINT_SMALL)
  RunQuantized(QuantizedMatmul<AnyInt4aWeights>{w, x, bias, y, y_stride}, m, tile_begin, tile_end);
#else
  kByOffset[static_cast<size_t>(w.layout.offset)](w, x, m, bias, y, y_stride, tile_begin, tile_end);
#endif
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
