#pragma once
// The register tiles of attention: dots of queries with keys, and sums of values.
#include "simd/kernels/attention_cache-inl.h"
#include "simd/kernels/pair_dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Queries of a panel, and vectors of keys or columns of a tile: Q x V sums, V vectors and one
// broadcast fit the registers (32, on AVX2 16, on 32-bit ARM 32 scalars, which are 8 vectors).
constexpr size_t kPanel = 6;
#if GLINT_NEON32
constexpr size_t kWide = 1, kPairVectors = 2, kIntWide = 1, kOneQueryVectors = 4;
#elif HWY_TARGET == HWY_AVX2
constexpr size_t kWide = 2, kPairVectors = 4, kIntWide = 2, kOneQueryVectors = 8;
#else
constexpr size_t kWide = 4, kPairVectors = 4, kIntWide = 2, kOneQueryVectors = 8;
#endif
// With one query or two, more vectors hide the latency of fma.
template <size_t Q>
constexpr size_t kVectors = Q == 1   ? 4
                            : Q == 2 ? kPairVectors
                                     : kWide;
// Integer tiles are smaller, or gcc 12 spends more on copies of registers than on dots.
template <size_t Q>
constexpr size_t kIntVectors = Q == 1   ? 1
                               : Q == 2 ? kPairVectors
                                        : kIntWide;

// Vectors [first, first + V) of the keys at `keys` (of position 0 mod 16 on) with Q queries, times
// scale: scores + i * kKeyBlock, by key.
template <class Cache, size_t Q, size_t V>
HWY_INLINE void DotTile(const typename Cache::Type* keys, size_t head_dim, const float* q,
                        size_t q_stride, float scale, size_t first, float* scores) {
  const typename Cache::Type* at[V];
  Floats dots[Q][V];
  GLINT_UNROLL
  for (size_t v = 0; v < V; ++v) {
    const size_t key = (first + v) * kLanes;
    at[v] = keys + key / 16 * head_dim * 16 + key % 16;
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) dots[i][v] = hn::Zero(F32());
  }
  for (size_t d = 0; d < head_dim; ++d) {
    Floats key[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) key[v] = Cache::Load(at[v] + d * 16);
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const auto element = hn::Set(F32(), q[i * q_stride + d]);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) dots[i][v] = hn::MulAdd(element, key[v], dots[i][v]);
    }
  }
  const auto scales = hn::Set(F32(), scale);
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      hn::Store(hn::Mul(dots[i][v], scales), F32(), scores + i * kKeyBlock + (first + v) * kLanes);
    }
  }
}

// Queries as codes: query i at codes + i * stride, padded to quads with zeros.
struct Int8Queries {
  const int8_t* codes;
  size_t stride;
  const int32_t* sums;  // of the codes
  const float* scales;  // times the attention's scale
};

// One query reads one vector of keys after the other, so that memory sees one stream, and hides
// the latency of dots with several sums, which are exact in any order.
template <size_t Q>
constexpr size_t kChains = Q == 1 ? 4 : 1;

// The same for int8 keys and queries; key_scales is of key 0.
template <size_t Q, size_t V>
HWY_INLINE void Int8DotTile(const int8_t* keys, const float* key_scales, size_t head_dim,
                            const Int8Queries& q, size_t first, float* scores) {
  constexpr int kOffset = kWeightOffset<false>;
  const size_t quads = (head_dim + 3) / 4;
  const uint8_t* at[V];
  Ints dots[Q][V];
  GLINT_UNROLL
  for (size_t v = 0; v < V; ++v) {
    const size_t key = (first + v) * kLanes;
    at[v] = reinterpret_cast<const uint8_t*>(keys) + key / 16 * quads * 64 + key % 16 * 4;
  }
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    const Ints start = SetInts(-kOffset * q.sums[i]);
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) dots[i][v] = start;
  }
  const auto add_quad = [&](size_t quad, Ints(&sums)[Q][V]) HWY_ATTR {
    Bytes key[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      key[v] = LoadCodes(at[v] + quad * 64);
      if constexpr (kOffset != 0) key[v] = AddBytes(key[v], SetBytes(kOffset));
    }
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const Bytes element = BroadcastQuad(q.codes + i * q.stride + quad * 4);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) sums[i][v] = Dot<false>(sums[i][v], key[v], element);
    }
  };
  size_t quad = 0;
  if constexpr (kChains<Q> == 4) {
    Ints more[3][Q][V];
    GLINT_UNROLL
    for (size_t u = 0; u < 3; ++u) more[u][0][0] = SetInts(0);
    for (; quad + 4 <= quads; quad += 4) {
      add_quad(quad, dots);
      add_quad(quad + 1, more[0]);
      add_quad(quad + 2, more[1]);
      add_quad(quad + 3, more[2]);
    }
    using Vec = hn::Vec<I32>;
    const auto sum = hn::Add(hn::Add(Vec{dots[0][0]}, Vec{more[0][0][0]}),
                             hn::Add(Vec{more[1][0][0]}, Vec{more[2][0][0]}));
    dots[0][0] = sum.raw;
  }
  for (; quad < quads; ++quad) add_quad(quad, dots);
  GLINT_UNROLL
  for (size_t v = 0; v < V; ++v) {
    const auto scale = hn::LoadU(F32(), key_scales + (first + v) * kLanes);
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const auto dot = hn::Mul(IntsToFloats(dots[i][v]), hn::Set(F32(), q.scales[i]));
      hn::Store(hn::Mul(dot, scale), F32(), scores + i * kKeyBlock + (first + v) * kLanes);
    }
  }
}

// out += p[key] * value[key] over `keys` rows of values, for Q queries and V vectors of columns;
// n columns are left, and where that is less than the vectors hold (V = 1), no more are read. p +
// i * kKeyBlock and out + i * out_stride are query i's; out's rows are padded.
template <class Cache, size_t Q, size_t V>
HWY_INLINE void ValueTile(const typename Cache::Type* values, size_t stride, size_t keys, size_t n,
                          const float* p, float* out, size_t out_stride) {
  Floats acc[Q][V];
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) acc[i][v] = hn::Load(F32(), out + i * out_stride + v * kLanes);
  }
  const bool whole = n >= V * kLanes;
  for (size_t j = 0; j < keys; ++j, values += stride) {
    Floats value[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      value[v] =
          V > 1 || whole ? Cache::Load(values + v * kLanes) : LoadCacheUpTo<Cache>(values, n);
    }
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const auto weight = hn::Set(F32(), p[i * kKeyBlock + j]);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) acc[i][v] = hn::MulAdd(weight, value[v], acc[i][v]);
    }
  }
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) hn::Store(acc[i][v], F32(), out + i * out_stride + v * kLanes);
  }
}

// All columns of ValueTile.
template <class Cache, size_t Q>
HWY_INLINE void AddValues(const typename Cache::Type* values, size_t stride, size_t keys,
                          size_t columns, const float* p, float* out, size_t out_stride) {
  constexpr size_t kV = Q == 1 ? kOneQueryVectors : kVectors<Q>;
  size_t c = 0;
  for (; c + kV * kLanes <= columns; c += kV * kLanes) {
    ValueTile<Cache, Q, kV>(values + c, stride, keys, columns - c, p, out + c, out_stride);
  }
  for (; c < columns; c += kLanes) {
    ValueTile<Cache, Q, 1>(values + c, stride, keys, columns - c, p, out + c, out_stride);
  }
}

// Rows of int8 values as pairs of rows: (rows / 2, padded columns, 2) numbers of 16 bits.
HWY_INLINE void ConvertPairs(const int8_t* values, size_t stride, size_t rows, size_t head_dim,
                             size_t padded, int16_t* tile) {
  for (size_t r = 0; r < rows; r += 2, values += 2 * stride, tile += 2 * padded) {
    for (size_t d = 0; d < padded; d += 16) {
      const size_t n = HWY_MIN(head_dim - d, 16);
      if (n == 16) {
        StorePairs(values + d, values + stride + d, tile + 2 * d);
        continue;
      }
      int8_t rest[2][16] = {};
      memcpy(rest[0], values + d, n);
      memcpy(rest[1], values + stride + d, n);
      StorePairs(rest[0], rest[1], tile + 2 * d);
    }
  }
}

// out += weight[key] * value[key] over pairs of keys, in integers, for Q queries and V vectors of
// columns. weights + i * kKeyBlock and out + i * padded are query i's; out holds int32.
template <size_t Q, size_t V>
HWY_INLINE void PairTile(const int16_t* tile, size_t padded, size_t pairs, const int16_t* weights,
                         float* out) {
  Ints acc[Q][V];
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) acc[i][v] = LoadInts(out + i * padded + v * kLanes);
  }
  for (size_t j = 0; j < pairs; ++j, tile += 2 * padded) {
    Pairs values[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) values[v] = LoadPairs(tile + 2 * v * kLanes);
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const PairWeights weight = BroadcastPair(weights + i * kKeyBlock + 2 * j);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) acc[i][v] = PairDot(acc[i][v], values[v], weight);
    }
  }
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) StoreInts(acc[i][v], out + i * padded + v * kLanes);
  }
}

// All columns of PairTile.
template <size_t Q>
HWY_INLINE void AddPairs(const int16_t* tile, size_t padded, size_t pairs, const int16_t* weights,
                         float* out) {
  constexpr size_t kV = Q == 1 ? 4 : kIntVectors<Q>;
  size_t c = 0;
  for (; c + kV * kLanes <= padded; c += kV * kLanes) {
    PairTile<Q, kV>(tile + 2 * c, padded, pairs, weights, out + c);
  }
  for (; c < padded; c += kLanes) {
    PairTile<Q, 1>(tile + 2 * c, padded, pairs, weights, out + c);
  }
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
