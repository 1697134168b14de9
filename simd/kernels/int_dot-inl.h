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

// The sums of T tokens for one vector of rows, and the weights of one step of the dot. Two forms:
// quad by quad, and for smmla two adjacent quads (8 columns) and two tokens at a time.
#if defined(__ARM_FEATURE_MATMUL_INT8)

constexpr size_t kQuadsPerStep = 2;

struct StepWeights {
  int8x16_t rows01, rows23;  // 8 columns of each of two rows
};
template <bool kSmall>
HWY_INLINE StepWeights PrepareWeights(const Bytes (&quads)[2]) {
  const int32x4_t a = vreinterpretq_s32_s8(quads[0]), b = vreinterpretq_s32_s8(quads[1]);
  return {vreinterpretq_s8_s32(vzip1q_s32(a, b)), vreinterpretq_s8_s32(vzip2q_s32(a, b))};
}

// Sums of a pair of tokens: {row 0 x t0, row 0 x t1, row 1 x t0, row 1 x t1}, and of rows 2 and 3.
// A last odd token makes a pair with itself.
template <size_t T>
struct TokenSums {
  static constexpr size_t kPairs = (T + 1) / 2;
  Ints rows01[kPairs], rows23[kPairs];

  HWY_INLINE void Start(size_t t, Ints zero) {
    rows01[t / 2] = zero;
    rows23[t / 2] = zero;
  }
  HWY_INLINE Ints Get(size_t t) const {
    return t % 2 ? vuzp2q_s32(rows01[t / 2], rows23[t / 2])
                 : vuzp1q_s32(rows01[t / 2], rows23[t / 2]);
  }
  // Adds dots times the scale of each row.
  HWY_INLINE void AddScaled(const TokenSums& dots, Ints scales) {
    const Ints scales01 = vzip1q_s32(scales, scales), scales23 = vzip2q_s32(scales, scales);
    GLINT_UNROLL
    for (size_t i = 0; i < kPairs; ++i) {
      rows01[i] = MulAddInts(rows01[i], dots.rows01[i], scales01);
      rows23[i] = MulAddInts(rows23[i], dots.rows23[i], scales23);
    }
  }
};

// sums[g] += w[g] * x for G vectors of rows and T tokens; token t's columns at x + t *
// kActivationBlock.
template <bool kSmall, bool kBiasedForm, size_t G, size_t T>
HWY_INLINE void DotStep(TokenSums<T> (&sums)[G], const StepWeights (&w)[G], const int8_t* x) {
  GLINT_UNROLL
  for (size_t pair = 0; pair < TokenSums<T>::kPairs; ++pair) {
    const int8_t* first = x + 2 * pair * kActivationBlock;
    const int8_t* second = 2 * pair + 1 < T ? first + kActivationBlock : first;
    const int8x16_t tokens = vcombine_s8(vld1_s8(first), vld1_s8(second));
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      sums[g].rows01[pair] = vmmlaq_s32(sums[g].rows01[pair], w[g].rows01, tokens);
      sums[g].rows23[pair] = vmmlaq_s32(sums[g].rows23[pair], w[g].rows23, tokens);
    }
  }
}

// The codes of T tokens for one block of activations, in registers: pairs of tokens, 8 columns each.
template <size_t T>
struct LaneCodes {
  static constexpr size_t kPairs = TokenSums<T>::kPairs;
  int8x16_t pairs[kActivationBlock / 8][kPairs];

  HWY_INLINE explicit LaneCodes(const int8_t* x) {
    GLINT_UNROLL
    for (size_t p = 0; p < kPairs; ++p) {
      const int8_t* first = x + 2 * p * kActivationBlock;
      const int8_t* second = 2 * p + 1 < T ? first + kActivationBlock : first;
      GLINT_UNROLL
      for (size_t i = 0; i < kActivationBlock / 16; ++i) {
        const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(first + 16 * i));
        const int64x2_t b = vreinterpretq_s64_s8(vld1q_s8(second + 16 * i));
        pairs[2 * i][p] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
        pairs[2 * i + 1][p] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
      }
    }
  }
  // sums += w * x for the columns from 4 * quad on.
  HWY_INLINE void Dot(TokenSums<T>& sums, const StepWeights& w, size_t quad) const {
    GLINT_UNROLL
    for (size_t p = 0; p < kPairs; ++p) {
      sums.rows01[p] = vmmlaq_s32(sums.rows01[p], w.rows01, pairs[quad / 2][p]);
      sums.rows23[p] = vmmlaq_s32(sums.rows23[p], w.rows23, pairs[quad / 2][p]);
    }
  }
};

#else

constexpr size_t kQuadsPerStep = 1;

struct StepWeights {
  Bytes quad;
};
template <bool kSmall>
HWY_INLINE StepWeights PrepareWeights(const Bytes (&quads)[1]) {
  return {quads[0]};
}

template <size_t T>
struct TokenSums {
  Ints v[T];

  HWY_INLINE void Start(size_t t, Ints start) { v[t] = start; }
  HWY_INLINE Ints Get(size_t t) const { return v[t]; }
  HWY_INLINE void AddScaled(const TokenSums& dots, Ints scales) {
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) v[t] = MulAddInts(v[t], dots.v[t], scales);
  }
};

template <bool kSmall, bool kBiasedForm, size_t G, size_t T>
HWY_INLINE void DotStep(TokenSums<T> (&sums)[G], const StepWeights (&w)[G], const int8_t* x) {
  GLINT_UNROLL
  for (size_t t = 0; t < T; ++t) {
    const Bytes quad = BroadcastQuad(x + t * kActivationBlock);
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      sums[g].v[t] = Dot<kSmall, kBiasedForm>(sums[g].v[t], w[g].quad, quad);
    }
  }
}

#if HWY_TARGET == HWY_NEON
// The codes of T tokens for one block of activations, in registers: one load of a token serves
// four quads, by lane.
template <size_t T>
struct LaneCodes {
  Bytes codes[kActivationBlock / 16][T];

  HWY_INLINE explicit LaneCodes(const int8_t* x) {
    GLINT_UNROLL
    for (size_t i = 0; i < kActivationBlock / 16; ++i) {
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) codes[i][t] = vld1q_s8(x + t * kActivationBlock + 16 * i);
    }
  }
  // sums += w * x for the columns from 4 * quad on.
  HWY_INLINE void Dot(TokenSums<T>& sums, const StepWeights& w, size_t quad) const {
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      sums.v[t] = DotOfLane(sums.v[t], w.quad, codes[quad / 4][t], quad % 4);
    }
  }
};
#endif

#endif

HWY_INLINE Floats IntsToFloats(Ints v) {
  return hn::ConvertTo(F32(), hn::Vec<I32>{v});
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
