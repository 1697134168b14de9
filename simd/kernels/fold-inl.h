#pragma once
#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// 16 partial sums in as many vectors as that takes: element i of a row goes to sum i mod 16.
struct PartialSums {
  Floats v[kVectorsPerTile];

  HWY_INLINE PartialSums() {
    for (auto& sum : v) sum = hn::Zero(F32());
  }

  // The 16 folded in halves: j with j + 8, j + 4, j + 2, j + 1.
  HWY_INLINE float Fold() const {
    HWY_ALIGN float sums[kTileRows];
    for (size_t i = 0; i < kVectorsPerTile; ++i) hn::Store(v[i], F32(), sums + i * kLanes);
    for (size_t half = kTileRows / 2; half >= 1; half /= 2) {
      for (size_t j = 0; j < half; ++j) sums[j] += sums[j + half];
    }
    return sums[0];
  }
};

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
