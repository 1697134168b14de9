#pragma once
// Sums of integer dots of one vector of rows with some tokens, in the form that each instruction set
// wants: the registers between the dots (int_dot-inl.h) and the matmuls.
#include "simd/kernels/int_dot-inl.h"

// A tile whose tokens' codes lie in registers needs 32 of them (LaneCodes).
#undef GLINT_LANE_TILES
#if HWY_TARGET == HWY_NEON && !GLINT_NEON32
#define GLINT_LANE_TILES 1
#else
#define GLINT_LANE_TILES 0
#endif

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// The sums of T tokens for one vector of rows, and the weights of one step of the dot. Three forms:
// quad by quad; for smmla two adjacent quads (8 columns) and two tokens at a time; for ARMv7 two
// quads, whose products are added in 16 bits.
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

#elif GLINT_NEON32

constexpr size_t kQuadsPerStep = 2;

struct StepWeights {
  Bytes quads[2];
};
template <bool kSmall>
HWY_INLINE StepWeights PrepareWeights(const Bytes (&quads)[2]) {
  return {{quads[0], quads[1]}};
}

// A lane has the sum of half of a quad's columns: {row 0, row 0, row 1, row 1}, and rows 2 and 3.
template <size_t T>
struct TokenSums {
  Ints rows01[T], rows23[T];

  HWY_INLINE void Start(size_t t, Ints zero) {
    rows01[t] = zero;
    rows23[t] = zero;
  }
  HWY_INLINE Ints Get(size_t t) const {
    return vcombine_s32(vpadd_s32(vget_low_s32(rows01[t]), vget_high_s32(rows01[t])),
                        vpadd_s32(vget_low_s32(rows23[t]), vget_high_s32(rows23[t])));
  }
  // Adds dots times the scale of each row.
  HWY_INLINE void AddScaled(const TokenSums& dots, Ints scales) {
    const int32x4x2_t twice = vzipq_s32(scales, scales);
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      rows01[t] = MulAddInts(rows01[t], dots.rows01[t], twice.val[0]);
      rows23[t] = MulAddInts(rows23[t], dots.rows23[t], twice.val[1]);
    }
  }
};

// sums[g] += w[g] * x. Two products of any bytes fit 16 bits: 2 * 128 * 127 < 32768.
template <bool kSmall, bool kBiasedForm, size_t G, size_t T>
HWY_INLINE void DotStep(TokenSums<T> (&sums)[G], const StepWeights (&w)[G], const int8_t* x) {
  GLINT_UNROLL
  for (size_t t = 0; t < T; ++t) {
    // Each quad twice: for two rows.
    const int32x2_t both = vreinterpret_s32_s8(vld1_s8(x + t * kActivationBlock));
    const int8x8_t x0 = vreinterpret_s8_s32(vdup_lane_s32(both, 0));
    const int8x8_t x1 = vreinterpret_s8_s32(vdup_lane_s32(both, 1));
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      const Bytes w0 = w[g].quads[0], w1 = w[g].quads[1];
      sums[g].rows01[t] = vpadalq_s16(
          sums[g].rows01[t],
          vmlal_s8(vmull_s8(vget_low_s8(w0), x0), vget_low_s8(w1), x1));
      sums[g].rows23[t] = vpadalq_s16(
          sums[g].rows23[t],
          vmlal_s8(vmull_s8(vget_high_s8(w0), x0), vget_high_s8(w1), x1));
    }
  }
}

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

#if GLINT_LANE_TILES
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

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
