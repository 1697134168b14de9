#pragma once
// The matmul of many tokens. A slab is some blocks of columns of kGroups vectors of rows, unpacked
// and with its scales ready, small enough to stay in the L1 cache while all tokens pass over it. So
// unpacking is paid once for all tokens, and the inner loop loads, multiplies and adds, nothing
// else. Between slabs the sums wait in memory; they are the same sums in the same order as without
// slabs. (Not in y: its rows are often a multiple of 4 KiB apart and would share few cache lines.)
#include "simd/kernels/matmul_quantized-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Half of a small L1 cache (32 KiB); tokens and sums take turns in the rest.
constexpr size_t kSlabBytes = 16384;
// Tokens that share one unpacking: their sums take at most 32 KiB.
constexpr size_t kSlabMaxTokens = 64 * kPanelTokens;

template <class W>
struct Slab {
  static constexpr size_t kBlocks = kSlabBytes / (kWeightBlock * kGroups * kLanes);
  static constexpr size_t kSteps = StepsOf<W>::kSteps;
  static_assert(kBlocks % kBlocksPerScale == 0);
  static constexpr bool kBiasedForm = kBiased<W::kSmall>;
  // Bytes that are weights as they lie in the file are read there: a slab of them is contiguous.
  static constexpr bool kInPlace =
      W::kLines == 8 && kQuadsPerStep == 1 && (kBiasedForm || kWeightOffset<W::kSmall> == 0);
  static constexpr int kOffset = kBiasedForm ? 0 : kWeightOffset<W::kSmall>;
  using Packed = PackedWeights<W, kGroups, kOffset>;

  const uint8_t* codes[kGroups];  // of the first block, if in place
  StepWeights steps[kInPlace ? 1 : kBlocks][W::kHalves][kSteps][kGroups];
  ScaleOf<W> scales[kBlocks][W::kHalves][kGroups];
  // What to add to a sum for the tokens' bias: integer scales per block of activations (and its
  // first block here), float scales per block.
  Ints corrections[kBiasedForm ? kBlocks : 1][kGroups];
  OffsetOf<W> offsets[W::kOffset != BlockOffset::kNone ? kBlocks : 1][kGroups];
  BlockOffset kind;

#if HWY_TARGET == HWY_NEON
  // Written out because gcc compiles an implicit one without the target's pragma.
  HWY_INLINE Slab() {}
#endif

  HWY_INLINE StepWeights Step(size_t g, size_t block, size_t half, size_t step) const {
    if constexpr (kInPlace) {
      const Bytes quads[1] = {LoadCodes(codes[g] + (block * kSteps + step) * 64)};
      return PrepareWeights<W::kSmall>(quads);
    } else {
      return steps[block][half][step][g];
    }
  }
  HWY_INLINE ScaleOf<W> Scale(size_t g, size_t block, size_t half) const {
    return scales[block][half][g];
  }
  HWY_INLINE void Prefetch(size_t) const {}  // it is in the cache
  HWY_INLINE Ints Correction(size_t g, size_t block) const { return corrections[block][g]; }
  HWY_INLINE OffsetOf<W> Offset(size_t g, size_t block) const { return offsets[block][g]; }
  HWY_INLINE BlockOffset Kind() const {
    if constexpr (kAnyOffset<W>) return kind;
    return W::kOffset;
  }

  // Unpacks blocks [begin, begin + n).
  HWY_NOINLINE void Fill(const Packed& packed, size_t begin, size_t n) {
    kind = packed.Kind();
    for (size_t g = 0; g < kGroups; ++g) codes[g] = packed.groups[g].codes + begin * W::kLines * 64;
    for (size_t b = 0; b < n; ++b) {
      GLINT_UNROLL
      for (size_t g = 0; g < kGroups; ++g) {
        GLINT_UNROLL
        for (size_t half = 0; half < W::kHalves; ++half) {
          scales[b][half][g] = packed.Scale(g, begin + b, half);
          if constexpr (kInPlace) continue;
          GLINT_UNROLL
          for (size_t step = 0; step < kSteps; ++step) {
            steps[b][half][step][g] = packed.Step(g, begin + b, half, step);
          }
        }
#if HWY_TARGET != HWY_NEON
        if constexpr (kBiasedForm) AddCorrection(g, b);
#endif
        if constexpr (W::kOffset != BlockOffset::kNone) offsets[b][g] = packed.Offset(g, begin + b);
      }
    }
#if GLINT_LANE_TILES
    if constexpr (W::kIntegerScales) SubtractNextScales(n);
#endif
  }

#if GLINT_LANE_TILES
  // Makes each scale the scale minus the next one of the same block of activations. (AddLanes)
  HWY_INLINE void SubtractNextScales(size_t n) {
    for (size_t b = 0; b < n; ++b) {
      for (size_t g = 0; g < kGroups; ++g) {
        if constexpr (W::kHalves == 2) scales[b][0][g] = hn::Sub(scales[b][0][g], scales[b][1][g]);
        if (b % kBlocksPerScale + 1 == kBlocksPerScale || b + 1 == n) continue;
        auto& scale = scales[b][W::kHalves - 1][g];
        scale = hn::Sub(scale, scales[b + 1][0][g]);
      }
    }
  }
#endif

#if HWY_TARGET != HWY_NEON
  HWY_INLINE void AddCorrection(size_t g, size_t b) {
    const I32 d;
    const size_t first = W::kIntegerScales ? b - b % kBlocksPerScale : b;
    auto sum = b == first ? hn::Zero(d) : IntVec{corrections[first][g]};
    GLINT_UNROLL
    for (size_t half = 0; half < W::kHalves; ++half) {
      Ints weights = SetInts(0);  // the sum of each row's
      GLINT_UNROLL
      for (size_t step = 0; step < kSteps; ++step) {
        weights = DotUnsigned(weights, SetBytes(1), Step(g, b, half, step).quad);
      }
      auto factor = hn::Set(d, -kCodeBias);
      if constexpr (W::kIntegerScales) {
        // With pair scales, the scale is there twice in 16 bits.
        const auto scale = scales[b][half][g];
        factor = hn::Mul(factor, GLINT_PAIR_SCALES ? hn::ShiftRight<16>(scale) : scale);
      }
      sum = hn::Add(sum, hn::Mul(IntVec{weights}, factor));
    }
    corrections[first][g] = sum.raw;
  }
#endif
};

// The codes of the slab after this one, asked for a few cache lines at a time while tokens pass, so that
// unpacking does not wait for memory.
struct NextSlab {
  const uint8_t* codes[kGroups];
  size_t lines = 0;      // of each group; none after the last slab
  size_t per_panel = 0;  // to ask for at each panel of tokens

  HWY_INLINE void Prefetch(size_t panel) const {
    const size_t end = HWY_MIN((panel + 1) * per_panel, lines);
    for (size_t line = panel * per_panel; line < end; ++line) {
      GLINT_UNROLL
      for (size_t g = 0; g < kGroups; ++g) __builtin_prefetch(codes[g] + line * 64, 0, 2);
    }
  }
};

#if GLINT_LANE_TILES
// The tile of 128-bit vectors: all codes of a block of activations lie in 16 registers, and the
// groups pass over them one by one, so that only one group's sums need registers, and its scale
// steps run beside the next group's dots.
template <class W, size_t T>
struct LaneTile {
  const Slab<W>& slab;
  const LaneCodes<T>& codes;

  HWY_INLINE void AddDots(size_t g, size_t begin, size_t b, size_t half,
                          TokenSums<T>& dots) const {
    using S = StepsOf<W>;
    GLINT_UNROLL
    for (size_t step = 0; step < S::kSteps; ++step) {
      codes.Dot(dots, slab.Step(g, begin + b, half, step),
                (b * W::kHalves + half) * S::kQuads + S::Quad(step));
    }
  }

  // N blocks of weights, from `begin` on. With D[i] the dots up to the end of scale block i,
  //   d[0] * s[0] + d[1] * s[1] + ... = D[0] * (s[0] - s[1]) + D[1] * (s[1] - s[2]) + ...
  // (in integers modulo 2^32, so exactly): the dots need not start again at each scale.
  template <size_t N>
  HWY_INLINE IntegerTotals<W, 1, T> Integers(size_t g, size_t begin) const {
    IntegerTotals<W, 1, T> totals(slab, begin);
    TokenSums<T> dots[1];
    StartDots<W>(slab, begin, 0, nullptr, dots);
    GLINT_UNROLL
    for (size_t b = 0; b < N; ++b) {
      GLINT_UNROLL
      for (size_t half = 0; half < W::kHalves; ++half) {
        AddDots(g, begin, b, half, dots[0]);
        totals.sums[0].AddScaled(dots[0], slab.Scale(g, begin + b, half).raw);
      }
    }
    return totals;
  }

  template <size_t N>
  HWY_INLINE FloatTotals<W, 1, T> Float(size_t g, size_t begin, const int16_t* x_sums) const {
    FloatTotals<W, 1, T> totals(slab, begin);
    GLINT_UNROLL
    for (size_t b = 0; b < N; ++b) {
      TokenSums<T> dots[1];
      StartDots<W>(slab, begin, 0, nullptr, dots);
      AddDots(g, begin, b, 0, dots[0]);
      totals.AddScaled(slab, begin + b, g, 0, dots[0], x_sums + b * (kWeightBlock / kSumColumns));
    }
    return totals;
  }
};

template <class W, size_t N, size_t G, size_t T>
HWY_INLINE void AddLaneBlocks(const Slab<W>& slab, size_t begin, const PanelTokens& x,
                              float* sums) {
  const F32 d;
  const LaneCodes<T> codes(x.codes);
  const LaneTile<W, T> tile{slab, codes};
  for (size_t g = 0; g < G; ++g) {
    const auto totals = [&]() HWY_ATTR {
      if constexpr (W::kIntegerScales) {
        return tile.template Integers<N>(g, begin);
      } else {
        return tile.template Float<N>(g, begin, x.sums);
      }
    }();
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      float* sum = sums + (t * kGroups + g) * kLanes;
      hn::Store(hn::MulAdd(totals.Get(0, t), hn::Set(d, x.scales[t]), hn::Load(d, sum)), d, sum);
    }
  }
}

// A last block without its second. (Apart, because it is rare.)
template <class W, size_t G, size_t T>
HWY_NOINLINE void AddLastLaneBlock(const Slab<W>& slab, size_t begin, const PanelTokens& x,
                                   float* sums) {
  AddLaneBlocks<W, 1, G, T>(slab, begin, x, sums);
}

// sums += the first `blocks` blocks of the slab times T tokens, as AddBlocks does.
template <class W, size_t G, size_t T>
HWY_INLINE void AddLanes(const Slab<W>& slab, size_t blocks, const PanelTokens& tokens,
                         float* sums) {
  size_t begin = 0;
  for (; begin + kBlocksPerScale <= blocks; begin += kBlocksPerScale) {
    AddLaneBlocks<W, kBlocksPerScale, G, T>(slab, begin, tokens.At(begin / kBlocksPerScale), sums);
  }
  static_assert(kBlocksPerScale == 2);
  if (begin < blocks) {
    AddLastLaneBlock<W, G, T>(slab, begin, tokens.At(begin / kBlocksPerScale), sums);
  }
}
#endif

// One slab's pass over the tokens of a chunk: a kernel for RunTokens.
template <class W>
struct SlabPass {
  const QuantizedMatmul<W>& matmul;
  const Slab<W>& slab;
  const NextSlab& next;
  float* sums;             // (tokens of the chunk, kGroups * kLanes)
  size_t group, n_groups;  // of the kGroups in the slab, those that the matrix has
  size_t begin, n;         // blocks
  size_t chunk;            // its first token
  bool first, last;        // slab of these rows

  template <size_t G, size_t T>
  HWY_NOINLINE void Run(size_t, size_t panel, size_t panel_tokens, size_t token) const {
    next.Prefetch(panel / kPanelTokens);
    float* at = sums + (panel + token) * kGroups * kLanes;
#if GLINT_LANE_TILES
    if (first) memset(at, 0, T * kGroups * kLanes * sizeof(float));
    const PanelTokens tokens =
        matmul.Tokens(chunk + panel, panel_tokens, token).At(begin / kBlocksPerScale);
    AddLanes<W, G, T>(slab, n, tokens, at);
#else
    const F32 d;
    Floats acc[G][T];
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) {
        acc[g][t] = first ? hn::Zero(d) : hn::Load(d, at + (t * kGroups + g) * kLanes);
      }
    }
    const PanelTokens tokens =
        matmul.Tokens(chunk + panel, panel_tokens, token).At(begin / kBlocksPerScale);
    AddBlocks<W>(slab, n, tokens, acc);
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) hn::Store(acc[g][t], d, at + (t * kGroups + g) * kLanes);
    }
#endif
    if (last) Finish(panel + token, T);
  }

  HWY_INLINE void Finish(size_t token, size_t n_tokens) const {
    for (size_t g = 0; g < n_groups; ++g) {
      const auto biases = LoadBias(matmul.bias, matmul.w, group + g);
      for (size_t t = token; t < token + n_tokens; ++t) {
        const auto sum = hn::Load(F32(), sums + (t * kGroups + g) * kLanes);
        StoreGroup(matmul.Finish(sum, biases, group + g), matmul.w, group + g,
                   matmul.y + (chunk + t) * matmul.y_stride);
      }
    }
  }
};

// Groups [group, group + n_groups) of the matrix, n_groups <= kGroups, and all m tokens.
// `more`: the groups after them come next.
template <class W>
HWY_NOINLINE void RunSlabs(const QuantizedMatmul<W>& matmul, size_t group, size_t n_groups, bool more,
                           size_t m) {
  HWY_ALIGN Slab<W> slab;
  HWY_ALIGN float sums[kSlabMaxTokens * kGroups * kLanes];
  typename Slab<W>::Packed packed;
  packed.type.Set(matmul.w, Slab<W>::kOffset);
  for (size_t g = 0; g < kGroups; ++g) {
    packed.groups[g].Set(matmul.w, group + HWY_MIN(g, n_groups - 1));
  }
  const size_t blocks = matmul.blocks();
  const size_t last_group = (matmul.w.layout.rows - 1) / kLanes;
  for (size_t chunk = 0; chunk < m; chunk += kSlabMaxTokens) {
    for (size_t begin = 0; begin < blocks; begin += Slab<W>::kBlocks) {
      const size_t n = HWY_MIN(blocks - begin, Slab<W>::kBlocks);
      slab.Fill(packed, begin, n);
      const size_t tokens = HWY_MIN(m - chunk, kSlabMaxTokens);
      const bool is_last = begin + n == blocks;  // of these groups
      const bool next_groups = is_last && more && chunk + kSlabMaxTokens >= m;
      NextSlab next;
      next.lines = HWY_MIN(is_last ? blocks : blocks - begin - n, Slab<W>::kBlocks) * W::kLines;
      next.per_panel = next.lines / ((tokens + kPanelTokens - 1) / kPanelTokens) + 1;
      for (size_t g = 0; g < kGroups; ++g) {
        PackedGroup<W> after = packed.groups[g];
        if (next_groups) after.Set(matmul.w, HWY_MIN(group + kGroups + g, last_group));
        next.codes[g] = after.codes + (is_last ? 0 : (begin + n) * W::kLines * 64);
      }
      const SlabPass<W> pass{matmul, slab, next, sums, group, n_groups, begin, n, chunk, begin == 0,
                             is_last};
      RunTokens<kGroups>(pass, group, tokens);
    }
  }
}

// The rows of tiles [tile_begin, tile_end) and all m tokens.
template <class W>
HWY_INLINE void RunQuantized(const QuantizedMatmul<W>& matmul, size_t m, size_t tile_begin,
                             size_t tile_end) {
  if (m < kManyTokens) return RunGroups(matmul, matmul.w, m, tile_begin, tile_end);
  const size_t groups = (matmul.w.layout.rows + kLanes - 1) / kLanes;
  const size_t end = HWY_MIN(tile_end * kVectorsPerTile, groups);
  for (size_t group = tile_begin * kVectorsPerTile; group < end; group += kGroups) {
    RunSlabs(matmul, group, HWY_MIN(end - group, kGroups), group + kGroups < end, m);
  }
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
