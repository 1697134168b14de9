#pragma once
// Dots of pairs of 16-bit numbers: beside int_dot-inl.h the only file with intrinsics of its own.
//
// A `Pairs` vector holds two keys' values of kLanes columns. A dot adds, in the 32-bit lane of a
// column, value[0] * weight[0] + value[1] * weight[1], exactly.
#include "simd/kernels/int_dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Two rows of 16 codes as kVectorsPerTile vectors of pairs, at `pairs`: 32 numbers. On x86 the two
// rows alternate, column by column; on NEON four columns of one row precede those of the other.
HWY_INLINE void StorePairs(const int8_t* row0, const int8_t* row1, int16_t* pairs) {
#if HWY_TARGET == HWY_NEON
  const int8x16_t a = vld1q_s8(row0), b = vld1q_s8(row1);
  const int16x8_t a0 = vmovl_s8(vget_low_s8(a)), a1 = vmovl_s8(vget_high_s8(a));
  const int16x8_t b0 = vmovl_s8(vget_low_s8(b)), b1 = vmovl_s8(vget_high_s8(b));
  vst1q_s16(pairs, vcombine_s16(vget_low_s16(a0), vget_low_s16(b0)));
  vst1q_s16(pairs + 8, vcombine_s16(vget_high_s16(a0), vget_high_s16(b0)));
  vst1q_s16(pairs + 16, vcombine_s16(vget_low_s16(a1), vget_low_s16(b1)));
  vst1q_s16(pairs + 24, vcombine_s16(vget_high_s16(a1), vget_high_s16(b1)));
#else
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row0));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row1));
  __m256i* to = reinterpret_cast<__m256i*>(pairs);
  _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)));
  _mm256_storeu_si256(to + 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b)));
#endif
}

#if GLINT_NEON32
using Pairs = int16x8_t;
struct PairWeights {
  int16x4_t first, second;
};
HWY_INLINE Pairs LoadPairs(const int16_t* p) {
  return vld1q_s16(p);
}
HWY_INLINE PairWeights BroadcastPair(const int16_t* p) {
  return {vdup_n_s16(p[0]), vdup_n_s16(p[1])};
}
HWY_INLINE Ints PairDot(Ints sum, Pairs values, PairWeights w) {
  return vmlal_s16(vmlal_s16(sum, vget_low_s16(values), w.first), vget_high_s16(values), w.second);
}
#elif HWY_TARGET == HWY_NEON
using Pairs = int16x8_t;
struct PairWeights {
  int16x4_t first;
  int16x8_t second;
};
HWY_INLINE Pairs LoadPairs(const int16_t* p) {
  return vld1q_s16(p);
}
HWY_INLINE PairWeights BroadcastPair(const int16_t* p) {
  return {vdup_n_s16(p[0]), vdupq_n_s16(p[1])};
}
HWY_INLINE Ints PairDot(Ints sum, Pairs values, PairWeights w) {
  return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(values), w.first), values, w.second);
}
#else
using Pairs = Ints;
using PairWeights = Ints;
HWY_INLINE Pairs LoadPairs(const int16_t* p) {
  return LoadCodes(reinterpret_cast<const uint8_t*>(p));
}
HWY_INLINE PairWeights BroadcastPair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, sizeof(pair));
  return SetInts(pair);
}
HWY_INLINE Ints PairDot(Ints sum, Pairs values, PairWeights w) {
#if HWY_TARGET == HWY_AVX3 && defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, values, w);
#elif HWY_TARGET == HWY_AVX3
  return _mm512_add_epi32(sum, _mm512_madd_epi16(values, w));
#elif defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sum, values, w);
#elif defined(__AVX512VNNI__)  // the avxvnni target in EVEX form, for tests
  return _mm256_dpwssd_epi32(sum, values, w);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(values, w));
#endif
}
#endif

HWY_INLINE Ints LoadInts(const float* p) {
  return hn::Load(I32(), reinterpret_cast<const int32_t*>(p)).raw;
}
HWY_INLINE void StoreInts(Ints v, float* p) {
  hn::Store(hn::Vec<I32>{v}, I32(), reinterpret_cast<int32_t*>(p));
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
