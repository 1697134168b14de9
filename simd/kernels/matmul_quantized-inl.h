#pragma once
// matmul of quantized weights and activations: exact integer dots per block of 32 columns, then one
// scale step in floats. One loop for all types; a type says how its codes become bytes ("unpack")
// and what its scale step is:
//   kHalves         integer sums per block of 32 columns (2 where 16 columns share a scale)
//   kParts          quads in one vector of codes: 2 nibbles, or 1 byte
//   kSmall          weights are at most +-64
//   Unpack(v, part) weights of one part of a code vector
//   kScaleBytes     bytes of a row's scale for one half
//   LoadScale(p)    the scales of kLanes rows as floats
//   kOffset         how blocks are shifted
#include "simd/kernels/int_dot-inl.h"
#include "simd/kernels/row_groups-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// One group's parts of the matrix, at block 0.
struct GroupParts {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* offsets;
};

// The tokens of a register tile, at block 0; each block is `panel_tokens` further.
struct PanelTokens {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
  size_t panel_tokens;
};

HWY_INLINE Floats LoadInt8AsFloats(const uint8_t* p) {
  const hn::Rebind<int8_t, F32> d8;
  const auto v = hn::LoadU(d8, reinterpret_cast<const int8_t*>(p));
  return hn::ConvertTo(F32(), hn::PromoteTo(I32(), v));
}
HWY_INLINE Floats LoadF16AsFloats(const uint8_t* p) {
  const hn::Rebind<hwy::float16_t, F32> d16;
  return hn::PromoteTo(F32(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}

// The integer sums of half h of one block.
template <class W, size_t G, size_t T>
HWY_INLINE void DotHalf(const W& type, const GroupParts (&groups)[G], size_t block, size_t h,
                        const int8_t* x, const int32_t* x_sums, TokenSums<T> (&sums)[G]) {
  constexpr size_t kQuads = 8 / W::kHalves;        // of a half
  constexpr size_t kVectors = kQuads / W::kParts;  // of codes of a half
  constexpr int kOffset = kWeightOffset<W::kSmall>;
  GLINT_UNROLL
  for (size_t t = 0; t < T; ++t) {
    const int32_t x_sum = W::kHalves == 2 ? x_sums[2 * t + h] : x_sums[2 * t] + x_sums[2 * t + 1];
    const Ints start = SetInts(-kOffset * x_sum);
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) sums[g].Start(t, start);
  }
  GLINT_UNROLL
  for (size_t v = 0; v < kVectors; v += kQuadsPerStep) {
    GLINT_UNROLL
    for (size_t part = 0; part < W::kParts; ++part) {
      StepWeights weights[G];
      GLINT_UNROLL
      for (size_t g = 0; g < G; ++g) {
        const uint8_t* codes = groups[g].codes + ((block * W::kHalves + h) * kVectors + v) * 64;
        Bytes quads[kQuadsPerStep];
        GLINT_UNROLL
        for (size_t i = 0; i < kQuadsPerStep; ++i) {
          quads[i] = type.Unpack(LoadCodes(codes + 64 * i), part);
        }
        weights[g] = PrepareWeights<W::kSmall>(quads);
      }
      DotStep<W::kSmall>(sums, weights, x + 4 * (h * kQuads + part * kVectors + v));
    }
  }
}

// acc += one block.
template <class W, size_t G, size_t T>
HWY_INLINE void AddBlock(const W& type, const GroupParts (&groups)[G], size_t block,
                         const PanelTokens& x, Floats (&acc)[G][T]) {
  const F32 d;
  const size_t at = block * x.panel_tokens;
  const int8_t* codes = x.codes + at * kActivationBlock;
  const int32_t* x_sums = x.sums + 2 * at;
  TokenSums<T> sums[W::kHalves][G];
  GLINT_UNROLL
  for (size_t h = 0; h < W::kHalves; ++h) {
    DotHalf(type, groups, block, h, codes, x_sums, sums[h]);
  }
  GLINT_UNROLL
  for (size_t g = 0; g < G; ++g) {
    constexpr size_t kStride = kTileRows * W::kScaleBytes;
    const uint8_t* scales = groups[g].scales + block * W::kHalves * kStride;
    const auto s0 = W::LoadScale(scales);
    GLINT_UNROLL
    for (size_t t = 0; t < T; ++t) {
      const auto x_scale = hn::Set(d, x.scales[at + t]);
      if constexpr (W::kHalves == 2) {
        const auto d0 = IntsToFloats(sums[0][g].Get(t)), d1 = IntsToFloats(sums[1][g].Get(t));
        const auto both = hn::MulAdd(d0, s0, hn::Mul(d1, W::LoadScale(scales + kStride)));
        acc[g][t] = hn::MulAdd(both, x_scale, acc[g][t]);
        continue;
      }
      auto dot = hn::Vec<I32>{sums[0][g].Get(t)};
      const int32_t x_sum = x_sums[2 * t] + x_sums[2 * t + 1];
      if constexpr (W::kOffset == BlockOffset::kZero) {
        const auto zeros = hn::PromoteTo(
            I32(),
            hn::LoadU(hn::Rebind<int8_t, F32>(),
                      reinterpret_cast<const int8_t*>(groups[g].offsets + block * kTileRows)));
        dot = hn::Sub(dot, hn::Mul(zeros, hn::Set(I32(), x_sum)));
      }
      acc[g][t] = hn::MulAdd(hn::Mul(hn::ConvertTo(d, dot), x_scale), s0, acc[g][t]);
      if constexpr (W::kOffset == BlockOffset::kMin) {
        const auto mins = LoadF16AsFloats(groups[g].offsets + block * 2 * kTileRows);
        const auto x_total = hn::Mul(hn::Set(d, static_cast<float>(x_sum)), x_scale);
        acc[g][t] = hn::MulAdd(x_total, mins, acc[g][t]);
      }
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
  W type;

  template <size_t G, size_t T>
  HWY_NOINLINE void Run(size_t group, size_t panel, size_t panel_tokens, size_t token) const {
    const size_t blocks = w.layout.padded_cols / kActivationBlock;
    const size_t at = panel * blocks + token;
    const PanelTokens tokens = {x.codes + at * kActivationBlock, x.scales + at, x.sums + 2 * at,
                                panel_tokens};
    constexpr size_t kOffsetBytes = W::kOffset == BlockOffset::kMin ? 2 : 1;
    GroupParts groups[G];
    Floats acc[G][T];
    GLINT_UNROLL
    for (size_t g = 0; g < G; ++g) {
      const GroupPlace place = PlaceOf(group + g);
      groups[g].codes = w.Codes(place.tile) + 4 * place.row_in_tile;
      groups[g].scales = w.BlockScales(place.tile) + W::kScaleBytes * place.row_in_tile;
      groups[g].offsets = w.BlockOffsets(place.tile) + kOffsetBytes * place.row_in_tile;
      GLINT_UNROLL
      for (size_t t = 0; t < T; ++t) acc[g][t] = hn::Zero(F32());
    }
    const W local = type;
    for (size_t b = 0; b < blocks; ++b) AddBlock(local, groups, b, tokens, acc);
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
    if constexpr (!W::kRowScales) return hn::Add(acc, biases);
    const GroupPlace place = PlaceOf(group);
    const float* row_scales = w.RowScales(place.tile) + place.row_in_tile;
    return hn::MulAdd(acc, hn::LoadU(F32(), row_scales), biases);
  }
};

// Codes that are nibbles, each the index of a table entry.
template <bool kSmall>
HWY_INLINE Bytes LoadWeightTable(const int8_t* entries) {
  return AddBytes(LoadTable16(entries), kWeightOffset<kSmall>);
}

struct TableUnpack {
  static constexpr size_t kParts = 2;
  Bytes table;

  HWY_INLINE Bytes Unpack(Bytes codes, size_t part) const {
    return Lookup(table, part ? HighNibbles(codes) : LowNibbles(codes));
  }
};

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
