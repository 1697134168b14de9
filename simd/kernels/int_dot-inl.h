#pragma once
// The dots of bytes that Highway 1.0.3 lacks: with pair_dot-inl.h the only file with intrinsics.
//
// A `Bytes` vector holds 4 columns (a quad) of kLanes rows: byte 4 * row + column. A dot adds, in
// each 32-bit lane, the products of a row's quad with a token's quad:
//   sum[row] += w[row][0] * x[0] + ... + w[row][3] * x[3],   exactly.
// x86 multiplies unsigned by signed bytes, so weights are shifted by an offset to be unsigned, and
// the sums start at -offset * (sum of the x codes). Where small weights are at most +-64 (kSmall)
// the offset is 64, and vpmaddubsw cannot saturate: 2 * 127 * 127 < 32768. Larger ones take the
// sign trick there (|w| times x with w's sign); vpdpbusd takes offset 128. NEON multiplies signed
// bytes.
//
// Where many tokens meet the same weights, the roles are better the other way round: 128 is added to
// the tokens' codes instead ("biased"), and what that adds to a sum, 128 * (sum of the weights), is
// the same for all tokens. vpmaddubsw does not saturate then either: 2 * 255 * 64 < 32768.
//
// Without vpdpbusd a quad needs a second multiplication, vpmaddwd, which adds the two sums of two
// columns. Instead of ones it can multiply them by the block's integer scale, which then costs
// nothing ("pair scales"). Elsewhere a block's sums are multiplied by its scale at its end.
#include "simd/kernels/target.h"

#undef GLINT_PAIR_SCALES
#if HWY_TARGET != HWY_NEON && !defined(__AVXVNNI__) && !defined(__AVX512VNNI__)
#define GLINT_PAIR_SCALES 1
#else
#define GLINT_PAIR_SCALES 0
#endif

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

#if HWY_TARGET == HWY_AVX3
using Bytes = __m512i;
using Ints = __m512i;

HWY_INLINE Bytes LoadCodes(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}
HWY_INLINE Bytes LowNibbles(Bytes v) {
  return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
HWY_INLINE Bytes HighNibbles(Bytes v) {
  return LowNibbles(_mm512_srli_epi16(v, 4));
}
// The bits of a where those of mask are 1, else of b.
HWY_INLINE Bytes SelectBits(Bytes mask, Bytes a, Bytes b) {
  return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}
HWY_INLINE Bytes LowSixBits(Bytes v) {
  return _mm512_and_si512(v, _mm512_set1_epi8(63));
}
// The upper two bits of a, b and c as bits 5..4, 3..2, 1..0.
HWY_INLINE Bytes HighTwoBits(Bytes a, Bytes b, Bytes c) {
  const Bytes high = _mm512_srli_epi16(a, 2), middle = _mm512_srli_epi16(b, 4);
  const Bytes low = SelectBits(_mm512_set1_epi8(12), middle, _mm512_srli_epi16(c, 6));
  return LowSixBits(SelectBits(_mm512_set1_epi8(15), low, high));
}
HWY_INLINE Bytes LoadTable16(const int8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
HWY_INLINE Bytes AddBytes(Bytes a, Bytes b) {
  return _mm512_add_epi8(a, b);
}
HWY_INLINE Bytes SetBytes(int v) {
  return _mm512_set1_epi8(static_cast<char>(v));
}
HWY_INLINE Bytes Lookup(Bytes table, Bytes nibbles) {
  return _mm512_shuffle_epi8(table, nibbles);
}
HWY_INLINE Ints SetInts(int32_t v) {
  return _mm512_set1_epi32(v);
}
HWY_INLINE Ints AddInts(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
// a[0] * b[0] + a[1] * b[1] of the two int16 of each lane.
HWY_INLINE Ints DotPairs(Ints a, Ints b) {
  return _mm512_madd_epi16(a, b);
}
HWY_INLINE Ints MulAddInts(Ints sum, Ints a, Ints b) {
  return AddInts(sum, _mm512_mullo_epi32(a, b));
}

#if defined(__AVX512VNNI__)
HWY_INLINE Ints DotUnsigned(Ints sum, Bytes w, Bytes x) {
  return _mm512_dpbusd_epi32(sum, w, x);
}
#else
HWY_INLINE Ints DotUnsignedScaled(Ints sum, Bytes w, Bytes x, Ints scales) {
  return AddInts(sum, DotPairs(_mm512_maddubs_epi16(w, x), scales));
}
HWY_INLINE Ints DotUnsigned(Ints sum, Bytes w, Bytes x) {
  return DotUnsignedScaled(sum, w, x, _mm512_set1_epi16(1));
}
// The low int16 of each lane of `v` twice.
HWY_INLINE Ints BothHalves(Ints v) {
  return _mm512_shuffle_epi8(v, _mm512_set4_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100));
}
// The low int16 of each lane from `low`, the high one from `high`.
HWY_INLINE Ints MixHalves(Ints low, Ints high) {
  return _mm512_mask_blend_epi16(0xaaaaaaaau, low, high);
}
// Each int16 times 64 or 32.
template <int kFactor>
HWY_INLINE Ints Times(Ints v) {
  return _mm512_slli_epi16(v, kFactor == 64 ? 6 : 5);
}
HWY_INLINE Ints SubInts(Ints a, Ints b) {
  return _mm512_sub_epi32(a, b);
}
HWY_INLINE Ints DotSigned(Ints sum, Bytes w, Bytes x) {
  const __m512i negated =
      _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
  return DotUnsigned(sum, _mm512_abs_epi8(w), negated);
}
#endif

#elif HWY_TARGET == HWY_AVX2
using Bytes = __m256i;
using Ints = __m256i;

HWY_INLINE Bytes LoadCodes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
HWY_INLINE Bytes LowNibbles(Bytes v) {
  return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
HWY_INLINE Bytes HighNibbles(Bytes v) {
  return LowNibbles(_mm256_srli_epi16(v, 4));
}
HWY_INLINE Bytes SelectBits(Bytes mask, Bytes a, Bytes b) {
  return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}
HWY_INLINE Bytes LowSixBits(Bytes v) {
  return _mm256_and_si256(v, _mm256_set1_epi8(63));
}
HWY_INLINE Bytes HighTwoBits(Bytes a, Bytes b, Bytes c) {
  const Bytes high = _mm256_and_si256(_mm256_srli_epi16(a, 2), _mm256_set1_epi8(48));
  const Bytes middle = _mm256_and_si256(_mm256_srli_epi16(b, 4), _mm256_set1_epi8(12));
  const Bytes low = _mm256_and_si256(_mm256_srli_epi16(c, 6), _mm256_set1_epi8(3));
  return _mm256_or_si256(_mm256_or_si256(high, middle), low);
}
HWY_INLINE Bytes LoadTable16(const int8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
HWY_INLINE Bytes AddBytes(Bytes a, Bytes b) {
  return _mm256_add_epi8(a, b);
}
HWY_INLINE Bytes SetBytes(int v) {
  return _mm256_set1_epi8(static_cast<char>(v));
}
HWY_INLINE Bytes Lookup(Bytes table, Bytes nibbles) {
  return _mm256_shuffle_epi8(table, nibbles);
}
HWY_INLINE Ints SetInts(int32_t v) {
  return _mm256_set1_epi32(v);
}
HWY_INLINE Ints AddInts(Ints a, Ints b) {
  return _mm256_add_epi32(a, b);
}
HWY_INLINE Ints DotPairs(Ints a, Ints b) {
  return _mm256_madd_epi16(a, b);
}
HWY_INLINE Ints MulAddInts(Ints sum, Ints a, Ints b) {
  return AddInts(sum, _mm256_mullo_epi32(a, b));
}

#if defined(__AVXVNNI__)
HWY_INLINE Ints DotUnsigned(Ints sum, Bytes w, Bytes x) {
  return _mm256_dpbusd_avx_epi32(sum, w, x);
}
#elif defined(__AVX512VNNI__)  // the avxvnni target in EVEX form, for tests
HWY_INLINE Ints DotUnsigned(Ints sum, Bytes w, Bytes x) {
  return _mm256_dpbusd_epi32(sum, w, x);
}
#else
HWY_INLINE Ints DotUnsignedScaled(Ints sum, Bytes w, Bytes x, Ints scales) {
  return AddInts(sum, DotPairs(_mm256_maddubs_epi16(w, x), scales));
}
HWY_INLINE Ints DotUnsigned(Ints sum, Bytes w, Bytes x) {
  return DotUnsignedScaled(sum, w, x, _mm256_set1_epi16(1));
}
HWY_INLINE Ints BothHalves(Ints v) {
  return _mm256_shuffle_epi8(v, _mm256_set_epi32(0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100,
                                                 0x0d0c0d0c, 0x09080908, 0x05040504, 0x01000100));
}
HWY_INLINE Ints MixHalves(Ints low, Ints high) {
  return _mm256_blend_epi16(low, high, 0xaa);
}
template <int kFactor>
HWY_INLINE Ints Times(Ints v) {
  return _mm256_slli_epi16(v, kFactor == 64 ? 6 : 5);
}
HWY_INLINE Ints SubInts(Ints a, Ints b) {
  return _mm256_sub_epi32(a, b);
}
HWY_INLINE Ints DotSigned(Ints sum, Bytes w, Bytes x) {
  return DotUnsigned(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
#endif

#elif HWY_TARGET == HWY_NEON
using Bytes = int8x16_t;
using Ints = int32x4_t;

#if GLINT_NEON32
// What AArch64 does at once.
HWY_INLINE int8x16_t vqtbl1q_s8(int8x16_t table, uint8x16_t at) {
  const int8x8x2_t halves = {{vget_low_s8(table), vget_high_s8(table)}};
  const int8x16_t i = vreinterpretq_s8_u8(at);
  return vcombine_s8(vtbl2_s8(halves, vget_low_s8(i)), vtbl2_s8(halves, vget_high_s8(i)));
}
HWY_INLINE int16x8_t vmull_high_s8(int8x16_t a, int8x16_t b) {
  return vmull_s8(vget_high_s8(a), vget_high_s8(b));
}
HWY_INLINE int16x8_t vpaddq_s16(int16x8_t a, int16x8_t b) {
  return vcombine_s16(vpadd_s16(vget_low_s16(a), vget_high_s16(a)),
                      vpadd_s16(vget_low_s16(b), vget_high_s16(b)));
}
#endif

HWY_INLINE Bytes LoadCodes(const uint8_t* p) {
  return vreinterpretq_s8_u8(vld1q_u8(p));
}
HWY_INLINE Bytes LowNibbles(Bytes v) {
  return vandq_s8(v, vdupq_n_s8(15));
}
HWY_INLINE Bytes HighNibbles(Bytes v) {
  return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(v), 4));
}
HWY_INLINE Bytes SelectBits(Bytes mask, Bytes a, Bytes b) {
  return vbslq_s8(vreinterpretq_u8_s8(mask), a, b);
}
HWY_INLINE Bytes LowSixBits(Bytes v) {
  return vandq_s8(v, vdupq_n_s8(63));
}
HWY_INLINE Bytes HighTwoBits(Bytes a, Bytes b, Bytes c) {
  const uint8x16_t high = vshrq_n_u8(vreinterpretq_u8_s8(a), 2);
  const uint8x16_t middle = vsriq_n_u8(high, vreinterpretq_u8_s8(b), 4);
  return vreinterpretq_s8_u8(vsriq_n_u8(middle, vreinterpretq_u8_s8(c), 6));
}
HWY_INLINE Bytes LoadTable16(const int8_t* p) {
  return vld1q_s8(p);
}
HWY_INLINE Bytes AddBytes(Bytes a, Bytes b) {
  return vaddq_s8(a, b);
}
HWY_INLINE Bytes SetBytes(int v) {
  return vdupq_n_s8(static_cast<int8_t>(v));
}
HWY_INLINE Bytes Lookup(Bytes table, Bytes nibbles) {
  return vqtbl1q_s8(table, vreinterpretq_u8_s8(nibbles));
}
HWY_INLINE Ints SetInts(int32_t v) {
  return vdupq_n_s32(v);
}
HWY_INLINE Ints MulAddInts(Ints sum, Ints a, Ints b) {
  return vmlaq_s32(sum, a, b);
}

#if defined(__ARM_FEATURE_DOTPROD)
HWY_INLINE Ints DotSigned(Ints sum, Bytes w, Bytes x) {
  return vdotq_s32(sum, w, x);
}
#else
HWY_INLINE Ints DotSigned(Ints sum, Bytes w, Bytes x) {
  const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  const int16x8_t high = vmull_high_s8(w, x);
  return vpadalq_s16(sum, vpaddq_s16(low, high));  // |2 products| <= 2 * 128 * 127 < 32768
}
#endif

#if !GLINT_NEON32
// The dot with one quad of x. (A switch, because the instruction wants a constant.)
HWY_INLINE Ints DotOfLane(Ints sum, Bytes w, Bytes x, size_t lane) {
#if defined(__ARM_FEATURE_DOTPROD)
  switch (lane) {
    case 0: return vdotq_laneq_s32(sum, w, x, 0);
    case 1: return vdotq_laneq_s32(sum, w, x, 1);
    case 2: return vdotq_laneq_s32(sum, w, x, 2);
    default: return vdotq_laneq_s32(sum, w, x, 3);
  }
#else
  const int32x4_t quads = vreinterpretq_s32_s8(x);
  switch (lane) {
    case 0: return DotSigned(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32(quads, 0)));
    case 1: return DotSigned(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32(quads, 1)));
    case 2: return DotSigned(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32(quads, 2)));
    default: return DotSigned(sum, w, vreinterpretq_s8_s32(vdupq_laneq_s32(quads, 3)));
  }
#endif
}
#endif
#endif

// How weights are presented to the dot.
#if HWY_TARGET == HWY_NEON
constexpr int kSmallOffset = 0, kLargeOffset = 0;
#elif defined(__AVXVNNI__) || defined(__AVX512VNNI__)
constexpr int kSmallOffset = 128, kLargeOffset = 128;
#else
constexpr int kSmallOffset = 64, kLargeOffset = 0;
#endif
template <bool kSmall>
constexpr int kWeightOffset = kSmall ? kSmallOffset : kLargeOffset;
constexpr int kCodeBias = 128;
// Whether many tokens take the biased form.
template <bool kSmall>
constexpr bool kBiased = kWeightOffset<kSmall> != 0;

// The 4 bytes at p in all lanes.
HWY_INLINE Ints BroadcastInt(const void* p) {
  int32_t value;
  memcpy(&value, p, sizeof(value));
  return SetInts(value);
}

// One token's quad in all lanes.
HWY_INLINE Bytes BroadcastQuad(const int8_t* x) {
#if HWY_TARGET == HWY_NEON
  return vreinterpretq_s8_s32(BroadcastInt(x));
#else
  return BroadcastInt(x);
#endif
}

// Where a dot with a token's codes starts if the weights have this offset. `sums` are the sums of
// two times 16 of its codes: the dot takes the first (kFirst), the second (kSecond) or both.
template <int kOffset, bool kFirst, bool kSecond>
HWY_INLINE Ints StartOfDot(const int16_t* sums) {
#if HWY_TARGET == HWY_NEON
  (void)sums;
  return SetInts(0);
#else
  if constexpr (kOffset == 0) return SetInts(0);
  constexpr uint32_t kMinusOffset = static_cast<uint16_t>(-kOffset);
  constexpr uint32_t kPair = (kFirst ? kMinusOffset : 0) | (kSecond ? kMinusOffset << 16 : 0);
  return DotPairs(BroadcastInt(sums), SetInts(static_cast<int32_t>(kPair)));
#endif
}

// kBiasedForm: x is biased and w signed, else w has its offset and x is signed.
template <bool kSmall, bool kBiasedForm = false>
HWY_INLINE Ints Dot(Ints sum, Bytes w, Bytes x) {
#if HWY_TARGET == HWY_NEON
  return DotSigned(sum, w, x);
#else
  if constexpr (kBiasedForm) return DotUnsigned(sum, x, w);
  if constexpr (kWeightOffset<kSmall> == 0) {
#if !defined(__AVXVNNI__) && !defined(__AVX512VNNI__)
    return DotSigned(sum, w, x);
#endif
  } else {
    return DotUnsigned(sum, w, x);
  }
#endif
}

HWY_INLINE Floats IntsToFloats(Ints v) {
  return hn::ConvertTo(F32(), hn::Vec<I32>{v});
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
