#pragma once
// matmul of float weights: one fma per column and row, column by column.
#include "simd/kernels/row_groups-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Weights: `Type` and Load(p), which makes floats of kLanes of them.
template <class Weights>
struct FloatMatmul {
  using Type = typename Weights::Type;

  const MatrixView& w;
  const float* x;
  size_t x_stride;
  const float* bias;
  float* y;
  size_t y_stride;

  template <size_t G, size_t T>
  HWY_NOINLINE void Run(size_t group, size_t panel, size_t, size_t token) const {
    const Type* codes[G];
    Floats acc[G][T];
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      const GroupPlace place = PlaceOf(group + g);
      codes[g] = reinterpret_cast<const Type*>(w.Codes(place.tile)) + place.row_in_tile;
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) acc[g][t] = hn::Zero(F32());
    }
    const float* tokens = x + (panel + token) * x_stride;
    const size_t cols = w.layout.cols;
    for (size_t c = 0; c < cols; ++c) {
      Floats weights[G];
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) weights[g] = Weights::Load(codes[g] + c * kTileRows);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        const auto value = hn::Set(F32(), tokens[t * x_stride + c]);
        GLINT_UNROLL
        for (size_t g = 0; g < G; ++g) acc[g][t] = hn::MulAdd(weights[g], value, acc[g][t]);
      }
    }
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      const auto biases = LoadBias(bias, w, group + g);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        StoreGroup(hn::Add(acc[g][t], biases), w, group + g, y + (panel + token + t) * y_stride);
      }
    }
  }
};

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
