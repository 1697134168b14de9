#include "simd/kernels/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Calls f(vector, partial sum, lanes that count) for all of x. In the last vector the lanes beyond
// n are 0; adding 0 changes no partial sum, because none is ever -0 (they start at +0).
template <class F>
HWY_INLINE void ForEachVector(const float* x, size_t n, PartialSums& sums, F f) {
  for (size_t i = 0; i < n; i += kTileRows) {
    GLINT_UNROLL
    for (size_t j = 0; j < kVectorsPerTile; ++j) {
      const size_t at = i + j * kLanes;
      if (at < n) sums.v[j] = f(LoadUpTo(x + at, n - at), sums.v[j], n - at);
    }
  }
}

}  // namespace

void LayerNorm(const float* x, const float* weight, const float* bias, float* y, size_t n,
               float eps) {
  const F32 d;
  PartialSums sums;
  ForEachVector(x, n, sums, [](Floats v, Floats sum, size_t) HWY_ATTR { return hn::Add(sum, v); });
  const float mean = sums.Fold() / static_cast<float>(n);
  const auto means = hn::Set(d, mean);
  PartialSums squares;
  ForEachVector(x, n, squares, [means](Floats v, Floats sum, size_t count) HWY_ATTR {
    auto difference = hn::Sub(v, means);
    if (count < kLanes) difference = hn::IfThenElseZero(hn::FirstN(F32(), count), difference);
    return hn::MulAdd(difference, difference, sum);
  });
  const float variance = squares.Fold() / static_cast<float>(n);
  const auto r = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Set(d, variance + eps)));
  for (size_t i = 0; i < n; i += kLanes) {
    const auto scaled = hn::Mul(hn::Sub(LoadUpTo(x + i, n - i), means), r);
    StoreUpTo(hn::MulAdd(scaled, LoadUpTo(weight + i, n - i), LoadUpTo(bias + i, n - i)), y + i,
              n - i);
  }
}

void RmsNorm(const float* x, const float* weight, float* y, size_t n, float eps) {
  const F32 d;
  PartialSums squares;
  ForEachVector(x, n, squares, [](Floats v, Floats sum, size_t) HWY_ATTR {
    return hn::MulAdd(v, v, sum);
  });
  const float mean = squares.Fold() / static_cast<float>(n);
  const auto r = hn::Div(hn::Set(d, 1.0f), hn::Sqrt(hn::Set(d, mean + eps)));
  for (size_t i = 0; i < n; i += kLanes) {
    const auto scaled = hn::Mul(LoadUpTo(x + i, n - i), r);
    StoreUpTo(hn::Mul(scaled, LoadUpTo(weight + i, n - i)), y + i, n - i);
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
