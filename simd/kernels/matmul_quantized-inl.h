#pragma once
// matmul of quantized weights and activations: exact integer dots per block of weights, their scale
// steps, then one step in floats per block of 64 activations. One loop for all types; a type says
// how its codes become bytes ("unpack") and what its scale step is:
//   kHalves         scale blocks per 32 columns (2 where 16 columns share a scale)
//   kLines          vectors of codes (of 64 bytes, for a tile) per 32 columns
//   kParts          quads that one vector of codes gives: 2 nibbles, or 1. (The order of steps.)
//   kSmall          weights are at most +-64
//   kDirectOffset   what packed weights have added to them when they meet few tokens
//   Set(w, offset)  makes weights come out with this offset (0 or kDirectOffset)
//   Quad<offset>(codes, half, quad)  weights of a quad of scale block `half` of 32 columns
//   kIntegerScales  block scales are integers (then a row has a float scale too)
//   kScaleBytes     bytes of a row's scale for one block
//   LoadScale(p)    the scales of kLanes rows as Ints or Floats
//   kOffset         how blocks are shifted
// Few tokens read the packed weights as they lie in the file. Many tokens share the work: a slab of
// weights is unpacked once into the L1 cache, and all tokens pass over it (matmul_slab-inl.h).
#include "simd/kernels/row_groups-inl.h"
#include "simd/kernels/token_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Columns of a block of weights, for this file: two scale blocks where 16 columns share one.
constexpr size_t kWeightBlock = 32;
constexpr size_t kBlocksPerScale = kActivationBlock / kWeightBlock;  // of an activation

using IntVec = hn::Vec<I32>;  // what Highway makes of Ints

HWY_INLINE IntVec LoadInt8AsInts(const uint8_t* p) {
  const hn::Rebind<int8_t, F32> d8;
  return hn::PromoteTo(I32(), hn::LoadU(d8, reinterpret_cast<const int8_t*>(p)));
}
HWY_INLINE Floats LoadF16AsFloats(const uint8_t* p) {
  const hn::Rebind<hwy::float16_t, F32> d16;
  return hn::PromoteTo(F32(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}

// The steps of the dot over one scale block, in the order that reads the code vectors one by one.
template <class W>
struct StepsOf {
  static constexpr size_t kQuads = 8 / W::kHalves;
  static constexpr size_t kSteps = kQuads / kQuadsPerStep;
  static constexpr size_t Quad(size_t step) {
    return step % W::kParts * (kQuads / W::kParts) + step / W::kParts * kQuadsPerStep;
  }
};

template <bool kFirst, class First, class Second>
struct Choice {
  using Type = First;
};
template <class First, class Second>
struct Choice<false, First, Second> {
  using Type = Second;
};
template <class W>
using ScaleOf = typename Choice<W::kIntegerScales, IntVec, Floats>::Type;
template <class W>
using OffsetOf = typename Choice<W::kOffset == BlockOffset::kMin, Floats, IntVec>::Type;

// Small code: one type of weights for every BlockOffset, told apart at run time by its `kind`. Its offsets
// are Floats (and kOffset is kMin): what a zero point takes from a dot is exact in floats, too.
template <class W>
constexpr bool kAnyOffset = false;

// How far ahead of its reading the direct form asks for weights, in bytes of one group's codes,
// where it waits for arithmetic and memory in turn, as with several tokens. With one token memory
// is all it waits for, and asking costs up to a quarter; not so where the arithmetic is slow for so
// few bytes (no fused dot, and few bits or narrow vectors). Bytes never gain.
constexpr size_t kAhead = 1024;
template <class W, size_t T>
constexpr bool kAsksAhead =
    W::kLines < 8 && (T > 1 || (GLINT_PAIR_SCALES && W::kLines < (kLanes == 8 ? 6 : 4)));

// Weights as they lie in the file: one group's parts of the matrix, at block 0.
template <class W>
struct PackedGroup {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* offsets;

  HWY_INLINE void Set(const MatrixView& w, size_t group) {
    const bool is_min = kAnyOffset<W> ? w.layout.offset == BlockOffset::kMin
                                      : W::kOffset == BlockOffset::kMin;
    const size_t offset_bytes = is_min ? 2 : 1;
    const GroupPlace place = PlaceOf(group);
    codes = w.Codes(place.tile) + 4 * place.row_in_tile;
    scales = w.BlockScales(place.tile) + W::kScaleBytes * place.row_in_tile;
    offsets = w.BlockOffsets(place.tile) + offset_bytes * place.row_in_tile;
  }
  // Asks for the codes that lie kAhead bytes after those of a block.
  HWY_INLINE void Prefetch(size_t block) const {
    GLINT_UNROLL
    for (size_t v = 0; v < W::kLines; ++v) {
      __builtin_prefetch(codes + (block * W::kLines + v) * 64 + kAhead, 0, 3);
    }
  }
};

template <class W, size_t G, int kOffset>
struct PackedWeights {
  static constexpr bool kBiasedForm = false;
  PackedGroup<W> groups[G];
  W type;

  HWY_INLINE StepWeights Step(size_t g, size_t block, size_t half, size_t step) const {
    using S = StepsOf<W>;
    const uint8_t* codes = groups[g].codes + block * W::kLines * 64;
    Bytes quads[kQuadsPerStep];
    GLINT_UNROLL
    for (size_t i = 0; i < kQuadsPerStep; ++i) {
      quads[i] = type.template Quad<kOffset>(codes, half, S::Quad(step) + i);
    }
    return PrepareWeights<W::kSmall>(quads);
  }
  HWY_INLINE void Prefetch(size_t block) const {
    // Groups of one tile share their cache lines.
    GLINT_UNROLL
    for (size_t g = 0; g < G; g += kVectorsPerTile) groups[g].Prefetch(block);
  }
  // As the dot wants it: with pair scales, an integer scale twice in 16 bits.
  HWY_INLINE ScaleOf<W> Scale(size_t g, size_t block, size_t half) const {
    const ScaleOf<W> scale = W::LoadScale(groups[g].scales +
                                    (block * W::kHalves + half) * kTileRows * W::kScaleBytes);
#if GLINT_PAIR_SCALES
    if constexpr (W::kIntegerScales) return IntVec{BothHalves(scale.raw)};
#endif
    return scale;
  }
#if GLINT_PAIR_SCALES
  // Pair scales: what the sums of a token's codes are multiplied by to give what the offset adds.
  HWY_INLINE Ints OffsetScales(size_t g, size_t block) const {
    const Ints first = Scale(g, block, 0).raw;
    if constexpr (W::kHalves == 1) return Times<kOffset>(first);
    return Times<kOffset>(MixHalves(first, Scale(g, block, W::kHalves - 1).raw));
  }
#endif
  HWY_INLINE BlockOffset Kind() const {
    if constexpr (kAnyOffset<W>) return type.kind;
    return W::kOffset;
  }
  HWY_INLINE OffsetOf<W> Offset(size_t g, size_t block) const {
    if constexpr (kAnyOffset<W>) {
      if (type.kind == BlockOffset::kNone) return hn::Zero(F32());
      if (type.kind == BlockOffset::kZero) {
        return hn::ConvertTo(F32(), LoadInt8AsInts(groups[g].offsets + block * kTileRows));
      }
    }
    if constexpr (W::kOffset == BlockOffset::kMin) {
      return LoadF16AsFloats(groups[g].offsets + block * 2 * kTileRows);
    } else {
      return LoadInt8AsInts(groups[g].offsets + block * kTileRows);
    }
  }
};

// The tokens of a register tile, at block 0; each block is `panel_tokens` further.
struct PanelTokens {
  const int8_t* codes;
  const float* scales;
  const int16_t* sums;
  size_t panel_tokens;

  HWY_INLINE PanelTokens At(size_t block) const {
    const size_t at = block * panel_tokens;
    return {codes + at * kActivationBlock, scales + at, sums + at * kBlockSums, panel_tokens};
  }
};

// dots += the dots of one scale block. x: the tokens' codes of block `block` of the weights.
template <class W, class Weights, size_t G, size_t T>
HWY_INLINE void AddDots(const Weights& weights, size_t block, size_t half, const int8_t* x,
                        TokenSums<T> (&dots)[G]) {
  using S = StepsOf<W>;
  GLINT_UNROLL
  for (size_t step = 0; step < S::kSteps; ++step) {
    StepWeights w[G];
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) w[g] = weights.Step(g, block, half, step);
    DotStep<W::kSmall, Weights::kBiasedForm>(dots, w, x + 4 * (half * S::kQuads + S::Quad(step)));
  }
}

// Where the dots of a scale block start, so that they come out without what offset or bias add:
// packed weights have an offset, which depends on the token; slabs take biased tokens, for which
// integer scales are put right once per block of activations, and float scales here.
template <class W, class Weights, size_t G, size_t T>
HWY_INLINE void StartDots(const Weights& weights, size_t block, size_t half, const int16_t* x_sums,
                          TokenSums<T> (&dots)[G]) {
  GLINT_UNROLL
  for (size_t t = 0; t < T; ++t) {
    if constexpr (Weights::kBiasedForm) {
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) {
        dots[g].Start(t, W::kIntegerScales ? SetInts(0) : weights.Correction(g, block));
      }
    } else {
      const int16_t* sums = x_sums + t * kBlockSums;
      const Ints start = W::kHalves == 1 ? StartOfDot<W::kDirectOffset, true, true>(sums)
                         : half == 0     ? StartOfDot<W::kDirectOffset, true, false>(sums)
                                         : StartOfDot<W::kDirectOffset, false, true>(sums);
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) dots[g].Start(t, start);
    }
  }
}

// What the weights' blocks within one block of activations add up to: integers...
template <class W, size_t G, size_t T>
struct IntegerTotals {
  TokenSums<T> sums[G];

  // For the blocks of a block of activations that begin at `block`.
  template <class Weights>
  HWY_INLINE IntegerTotals(const Weights& weights, size_t block) {
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      Ints start = SetInts(0);
      if constexpr (Weights::kBiasedForm) start = weights.Correction(g, block);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) sums[g].Start(t, start);
    }
  }
  HWY_INLINE Floats Get(size_t g, size_t t) const { return IntsToFloats(sums[g].Get(t)); }

  template <class Weights>
  HWY_INLINE void Add(const Weights& weights, size_t block, const int8_t* x,
                      const int16_t* x_sums) {
#if GLINT_PAIR_SCALES
    AddWithPairScales(weights, block, x, x_sums);
#else
    GLINT_UNROLL
    for (size_t half = 0; half < W::kHalves; ++half) {
      TokenSums<T> dots[G];
      StartDots<W>(weights, block, half, x_sums, dots);
      AddDots<W>(weights, block, half, x, dots);
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) sums[g].AddScaled(dots[g], weights.Scale(g, block, half).raw);
    }
#endif
  }

#if GLINT_PAIR_SCALES
  template <class Weights>
  HWY_INLINE void AddWithPairScales(const Weights& weights, size_t block, const int8_t* x,
                                    const int16_t* x_sums) {
    // With one token, group by group: then nothing but the sums has to stay in registers.
    constexpr size_t kTogether = T == 1 && kLanes == 8 ? 1 : G;
    GLINT_UNROLL
    for (size_t g = 0; g < G; g += kTogether) {
      if constexpr (!Weights::kBiasedForm) TakeOffsets<kTogether>(weights, block, g, x_sums);
      GLINT_UNROLL
      for (size_t half = 0; half < W::kHalves; ++half) {
        AddPairs<kTogether>(weights, block, g, half, x);
      }
    }
  }

  // Of groups [begin, begin + N).
  template <size_t N, class Weights>
  HWY_INLINE void TakeOffsets(const Weights& weights, size_t block, size_t begin,
                              const int16_t* x_sums) {
    GLINT_UNROLL
    for (size_t g = begin; g < begin + N; ++g) {
      const Ints scales = weights.OffsetScales(g, block);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        const Ints pair = BroadcastInt(x_sums + t * kBlockSums);
        sums[g].v[t] = SubInts(sums[g].v[t], DotPairs(scales, pair));
      }
    }
  }

  template <size_t N, class Weights>
  HWY_INLINE void AddPairs(const Weights& weights, size_t block, size_t begin, size_t half,
                           const int8_t* x) {
    using S = StepsOf<W>;
    Ints scales[N];
    GLINT_UNROLL
    for (size_t i = 0; i < N; ++i) scales[i] = weights.Scale(begin + i, block, half).raw;
    GLINT_UNROLL
    for (size_t step = 0; step < S::kSteps; ++step) {
      Bytes w[N];
      GLINT_UNROLL
      for (size_t i = 0; i < N; ++i) w[i] = weights.Step(begin + i, block, half, step).quad;
      const int8_t* at = x + 4 * (half * S::kQuads + S::Quad(step));
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        const Bytes quad = BroadcastQuad(at + t * kActivationBlock);
        GLINT_UNROLL
        for (size_t i = 0; i < N; ++i) {
          const Bytes u = Weights::kBiasedForm ? quad : w[i];
          const Bytes v = Weights::kBiasedForm ? w[i] : quad;
          Ints& sum = sums[begin + i].v[t];
          sum = DotUnsignedScaled(sum, u, v, scales[i]);
        }
      }
    }
  }
#endif
};

// ... or floats.
template <class W, size_t G, size_t T>
struct FloatTotals {
  Floats sums[G][T];

  template <class Weights>
  HWY_INLINE FloatTotals(const Weights&, size_t) {
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) sums[g][t] = hn::Zero(F32());
    }
  }
  HWY_INLINE Floats Get(size_t g, size_t t) const { return sums[g][t]; }

  template <class Weights>
  HWY_INLINE void Add(const Weights& weights, size_t block, const int8_t* x,
                      const int16_t* x_sums) {
    TokenSums<T> dots[G];
    StartDots<W>(weights, block, 0, x_sums, dots);
    AddDots<W>(weights, block, 0, x, dots);
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) AddScaled(weights, block, g, g, dots[g], x_sums);
  }

  // Adds the dots of one group of the weights to sums[to].
  template <class Weights>
  HWY_INLINE void AddScaled(const Weights& weights, size_t block, size_t g, size_t to,
                            const TokenSums<T>& dots, const int16_t* x_sums) {
    const I32 di;
    const Floats scale = weights.Scale(g, block, 0);
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      auto dot = IntVec{dots.Get(t)};
      const int32_t x_sum = x_sums[t * kBlockSums] + x_sums[t * kBlockSums + 1];
      if constexpr (W::kOffset == BlockOffset::kZero) {
        dot = hn::Sub(dot, hn::Mul(weights.Offset(g, block), hn::Set(di, x_sum)));
      }
      auto value = hn::ConvertTo(F32(), dot);
      if constexpr (kAnyOffset<W>) {
        if (weights.Kind() == BlockOffset::kZero) {
          const auto x_total = hn::Set(F32(), static_cast<float>(x_sum));
          value = hn::Sub(value, hn::Mul(weights.Offset(g, block), x_total));
        }
      }
      sums[to][t] = hn::MulAdd(value, scale, sums[to][t]);
      if constexpr (W::kOffset == BlockOffset::kMin) {
        if (weights.Kind() != BlockOffset::kMin) continue;
        const auto x_total = hn::ConvertTo(F32(), hn::Set(di, x_sum));
        sums[to][t] = hn::MulAdd(x_total, weights.Offset(g, block), sums[to][t]);
      }
    }
  }
};

// acc += blocks [0, blocks) of 32 columns of the weights.
template <class W, class Weights, size_t G, size_t T>
HWY_INLINE void AddBlocks(const Weights& weights, size_t blocks, const PanelTokens& tokens,
                          Floats (&acc)[G][T]) {
  for (size_t begin = 0; begin < blocks; begin += kBlocksPerScale) {
    const PanelTokens x = tokens.At(begin / kBlocksPerScale);
    const size_t n = HWY_MIN(blocks - begin, kBlocksPerScale);
    using Totals =
        typename Choice<W::kIntegerScales, IntegerTotals<W, G, T>, FloatTotals<W, G, T>>::Type;
    Totals totals(weights, begin);
    for (size_t b = 0; b < n; ++b) {
      if constexpr (kAsksAhead<W, T>) weights.Prefetch(begin + b);
      totals.Add(weights, begin + b, x.codes + b * kWeightBlock,
                 x.sums + b * (kWeightBlock / kSumColumns));
    }
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      const auto x_scale = hn::Set(F32(), x.scales[t]);
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) acc[g][t] = hn::MulAdd(totals.Get(g, t), x_scale, acc[g][t]);
    }
  }
}

template <class W>
struct QuantizedMatmul {
  const MatrixView& w;
  const QuantizedRows& x;
  const float* bias;
  float* y;
  size_t y_stride;

  HWY_INLINE size_t blocks() const { return w.layout.padded_cols / kWeightBlock; }

  // Tokens from `token` on of the panel that begins at token `panel`, at block 0.
  HWY_INLINE PanelTokens Tokens(size_t panel, size_t panel_tokens, size_t token) const {
    const size_t x_blocks = (blocks() + kBlocksPerScale - 1) / kBlocksPerScale;
    const size_t at = panel * x_blocks + token;
    return {x.codes + at * kActivationBlock, x.scales + at, x.sums + at * kBlockSums, panel_tokens};
  }

  // From the packed weights.
  template <size_t G, size_t T>
  HWY_NOINLINE void Run(size_t group, size_t panel, size_t panel_tokens, size_t token) const {
    PackedWeights<W, G, W::kDirectOffset> weights;
    weights.type.Set(w, W::kDirectOffset);
    Floats acc[G][T];
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      weights.groups[g].Set(w, group + g);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) acc[g][t] = hn::Zero(F32());
    }
    AddBlocks<W>(weights, blocks(), Tokens(panel, panel_tokens, token), acc);
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      const auto biases = LoadBias(bias, w, group + g);
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        StoreGroup(Finish(acc[g][t], biases, group + g), w, group + g,
                   y + (panel + token + t) * y_stride);
      }
    }
  }

  HWY_INLINE Floats Finish(Floats acc, Floats biases, size_t group) const {
    if constexpr (!W::kIntegerScales) return hn::Add(acc, biases);
    const GroupPlace place = PlaceOf(group);
    const float* row_scales = w.RowScales(place.tile) + place.row_in_tile;
    return hn::MulAdd(acc, hn::LoadU(F32(), row_scales), biases);
  }
};

// Codes that are nibbles, each the index of a table entry.
template <size_t kScaleBlocks, bool kIsSmall>
struct TableUnpack {
  static constexpr size_t kHalves = kScaleBlocks, kParts = 2, kLines = 4;
  static constexpr bool kSmall = kIsSmall;
  static constexpr int kDirectOffset = kWeightOffset<kSmall>;
  Bytes table;

  HWY_INLINE void Set(const MatrixView& w, int offset) {
    table = AddBytes(LoadTable16(w.Table()), SetBytes(offset));
  }
  // A scale block's first half of quads lies in low nibbles, the other in the high ones there.
  template <int kOffset>
  HWY_INLINE Bytes Quad(const uint8_t* codes, size_t half, size_t quad) const {
    constexpr size_t kVectors = kLines / kHalves;
    const Bytes v = LoadCodes(codes + (half * kVectors + quad % kVectors) * 64);
    return Lookup(table, quad < kVectors ? LowNibbles(v) : HighNibbles(v));
  }
};

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
