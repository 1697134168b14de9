#include "simd/kernels/int_dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

constexpr size_t kChains = 12;  // more than the latency of a dot times its rate

// Makes the compiler believe that v has changed. Without it, the products of vpmaddubsw are the same in
// every round and move out of the loop.
HWY_INLINE void Touch(Bytes& v) {
#if HWY_TARGET == HWY_NEON
  asm("" : "+w"(v));
#elif HWY_TARGET == HWY_AVX3
  asm("" : "+v"(v));
#else
  asm("" : "+x"(v));
#endif
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
HWY_INLINE Ints PeakDot(Ints sum, Bytes w, Bytes x) {
  return vmmlaq_s32(sum, w, x);
}
constexpr uint64_t kPeakMacs = 32;
#elif GLINT_NEON32
// Half of a step of the matmul (token_sums-inl.h).
HWY_INLINE Ints PeakDot(Ints sum, Bytes w, Bytes x) {
  return vpadalq_s16(sum, vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_high_s8(w),
                                   vget_high_s8(x)));
}
constexpr uint64_t kPeakMacs = 16;
#else
HWY_INLINE Ints PeakDot(Ints sum, Bytes w, Bytes x) {
  return Dot<true>(sum, w, x);
}
constexpr uint64_t kPeakMacs = 4 * kLanes;
#endif

}  // namespace

uint64_t DotPeak(uint64_t iterations, int32_t* sink) {
  uint8_t bytes[2 * sizeof(Bytes)];
  for (size_t i = 0; i < sizeof(bytes); ++i) {
    bytes[i] = static_cast<uint8_t>((i + static_cast<uint32_t>(*sink)) & 63);
  }
  const Bytes w = LoadCodes(bytes);
  Bytes x = LoadCodes(bytes + sizeof(Bytes));
  Ints sums[kChains];
  GLINT_UNROLL
  for (size_t i = 0; i < kChains; ++i) sums[i] = SetInts(static_cast<int32_t>(i));
  for (uint64_t n = 0; n < iterations; ++n) {
    GLINT_UNROLL
    for (size_t i = 0; i < kChains; ++i) {
      Touch(x);
      sums[i] = PeakDot(sums[i], w, x);
    }
  }
  auto total = hn::Zero(I32());
  for (size_t i = 0; i < kChains; ++i) total = hn::Add(total, hn::Vec<I32>{sums[i]});
  *sink = hn::GetLane(hn::SumOfLanes(I32(), total));
  return iterations * kChains * kPeakMacs;
}

uint64_t ReadSum(const void* data, uint64_t bytes) {
  const hn::ScalableTag<uint64_t> d;
  constexpr size_t kWords = hn::MaxLanes(d);  // of a vector
  constexpr size_t kVectors = 64 / sizeof(uint64_t) / kWords * 8;
  const uint64_t* p = static_cast<const uint64_t*>(data);
  const uint64_t* end = p + bytes / sizeof(uint64_t);
  hn::Vec<decltype(d)> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (; p + kVectors * kWords <= end; p += kVectors * kWords) {
    GLINT_UNROLL
    for (size_t i = 0; i < kVectors; ++i) sums[i] = hn::Add(sums[i], hn::LoadU(d, p + i * kWords));
  }
  for (; p < end; p += kWords) sums[0] = hn::Add(sums[0], hn::LoadU(d, p));
  for (size_t i = 1; i < kVectors; ++i) sums[0] = hn::Add(sums[0], sums[i]);
  uint64_t words[kWords], total = 0;
  hn::StoreU(sums[0], d, words);
  for (const uint64_t word : words) total += word;
  return total;
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
