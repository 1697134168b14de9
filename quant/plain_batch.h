#pragma once
#include <cstddef>
#include <cstdint>

namespace glint {

// What the encoders use of xsimd::batch, in plain loops: for processors whose vector arithmetic is
// not IEEE (32-bit ARM's NEON flushes denormals) or that xsimd does not know. Each operation is
// rounded as xsimd's is, so that a file comes out with the same bytes.
template <typename T, size_t kSize>
struct PlainBatch {
  static constexpr size_t size = kSize;
  T lanes[kSize];

  PlainBatch() = default;
  explicit PlainBatch(T value) {
    for (T& lane : lanes) lane = value;
  }
  static PlainBatch load_unaligned(const T* p) {
    return Make([&](size_t i) { return p[i]; });
  }
  void store_unaligned(T* p) const {
    for (size_t i = 0; i < kSize; ++i) p[i] = lanes[i];
  }

  friend PlainBatch operator+(PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return static_cast<T>(a.lanes[i] + b.lanes[i]); });
  }
  friend PlainBatch operator-(PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return static_cast<T>(a.lanes[i] - b.lanes[i]); });
  }
  friend PlainBatch operator*(PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return static_cast<T>(a.lanes[i] * b.lanes[i]); });
  }
  friend PlainBatch operator-(PlainBatch a) {
    return Make([&](size_t i) { return static_cast<T>(-a.lanes[i]); });
  }
  PlainBatch& operator+=(PlainBatch b) { return *this = *this + b; }
  PlainBatch& operator-=(PlainBatch b) { return *this = *this - b; }

  friend PlainBatch min(PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return b.lanes[i] < a.lanes[i] ? b.lanes[i] : a.lanes[i]; });
  }
  friend PlainBatch max(PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return a.lanes[i] < b.lanes[i] ? b.lanes[i] : a.lanes[i]; });
  }
  friend PlainBatch<bool, kSize> operator>(PlainBatch a, PlainBatch b) {
    return PlainBatch<bool, kSize>::Make([&](size_t i) { return a.lanes[i] > b.lanes[i]; });
  }
  friend PlainBatch select(PlainBatch<bool, kSize> mask, PlainBatch a, PlainBatch b) {
    return Make([&](size_t i) { return mask.lanes[i] ? a.lanes[i] : b.lanes[i]; });
  }
  // Cuts off towards zero.
  friend PlainBatch<int32_t, kSize> to_int(PlainBatch a) {
    return PlainBatch<int32_t, kSize>::Make(
        [&](size_t i) { return static_cast<int32_t>(a.lanes[i]); });
  }

  template <class F>
  static PlainBatch Make(F f) {
    PlainBatch result;
    for (size_t i = 0; i < kSize; ++i) result.lanes[i] = f(i);
    return result;
  }
};

}  // namespace glint
