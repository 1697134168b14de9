#include "simd/kernels/attention_tiles-inl.h"
#include "simd/kernels/exp-inl.h"
#include "simd/kernels/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// From so many queries on, a tile of keys or values is converted to f32 once for all.
constexpr size_t kTileQueries = 12;

// Keys counted from the block's first; begin == end if none.
struct Range {
  size_t begin, end;
};

HWY_INLINE Range Intersect(Range a, Range b) {
  const Range both = {HWY_MAX(a.begin, b.begin), HWY_MIN(a.end, b.end)};
  return both.begin < both.end ? both : Range{0, 0};
}

HWY_INLINE Range VisibleRange(const AttentionBlock& a, size_t query) {
  const int64_t block = static_cast<int64_t>(a.key_begin);
  const int64_t begin = HWY_MAX(a.queries[query].begin - block, 0);
  const int64_t end = HWY_MIN(a.queries[query].end - block, int64_t{kKeyBlock});
  if (begin >= end) return {0, 0};
  return {static_cast<size_t>(begin), static_cast<size_t>(end)};
}

// What one call works with: the scratch memory, by part, and a number per query.
struct Work {
  size_t padded;   // head_dim to whole tiles of 16
  float* tile;     // keys (kKeyTile / 16, head_dim, 16) or values (kKeyTile, padded)
  float* q;        // (n_queries, padded), for int8 the codes
  float* scores;   // (n_queries, kKeyBlock), then exp(score - maximum)
  float* out;      // (n_queries, padded), of this block; for int8 int32 until it is whole
  int16_t* codes;  // (n_queries, kKeyBlock), int8 only: the weights of values
  Range any;       // keys that some query sees
  Range visible[kMaxQueries];
  HWY_ALIGN float maximum[kMaxQueries];  // of this block
  HWY_ALIGN float sum[kMaxQueries];
  // int8 only
  float q_scales[kMaxQueries];
  float weight_scales[kMaxQueries];
  int32_t q_sums[kMaxQueries];

  HWY_INLINE explicit Work(const AttentionBlock& a)
      : padded((a.head_dim + 15) / 16 * 16),
        tile(a.scratch),
        q(tile + kKeyTile * padded),
        scores(q + a.n_queries * padded),
        out(scores + a.n_queries * kKeyBlock),
        codes(reinterpret_cast<int16_t*>(out + a.n_queries * padded)),
        any{kKeyBlock, 0} {
    for (size_t i = 0; i < a.n_queries; ++i) {
      visible[i] = VisibleRange(a, i);
      if (visible[i].begin == visible[i].end) continue;
      any = {HWY_MIN(any.begin, visible[i].begin), HWY_MAX(any.end, visible[i].end)};
    }
  }
};

// Calls f.template operator()<Q>(first) for panels of Q queries that together are all n.
template <class F>
HWY_INLINE void ForPanels(size_t n, const F& f) {
  size_t i = 0;
  for (; i + kPanel <= n; i += kPanel) f.template operator()<kPanel>(i);
  for (; i + 4 <= n; i += 4) f.template operator()<4>(i);
  for (; i + 2 <= n; i += 2) f.template operator()<2>(i);
  if (i < n) f.template operator()<1>(i);
}

// Scores of the keys of one tile, [begin, begin + kKeyTile) of the block, up to the last that is
// seen: the cache may end there.
template <class Cache>
struct Scorer {
  using Type = typename Cache::Type;

  static HWY_INLINE void Prepare(const AttentionBlock& a, Work& w) {
    for (size_t i = 0; i < a.n_queries; ++i) {
      memcpy(w.q + i * w.padded, a.queries[i].q, a.head_dim * sizeof(float));
    }
  }
  template <class Source>
  static HWY_INLINE void Panels(const AttentionBlock& a, const Work& w, size_t begin,
                                const typename Source::Type* keys, size_t v_begin, size_t v_end) {
    ForPanels(a.n_queries, [&]<size_t Q>(size_t first) HWY_ATTR {
      const float* q = w.q + first * w.padded;
      float* scores = w.scores + first * kKeyBlock + begin;
      size_t v = v_begin;
      for (; v + kVectors<Q> <= v_end; v += kVectors<Q>) {
        DotTile<Source, Q, kVectors<Q>>(keys, a.head_dim, q, w.padded, a.scale, v, scores);
      }
      for (; v < v_end; ++v) {
        DotTile<Source, Q, 1>(keys, a.head_dim, q, w.padded, a.scale, v, scores);
      }
    });
  }
  static HWY_INLINE void Tile(const AttentionBlock& a, const Work& w, size_t begin, size_t v_begin,
                              size_t v_end) {
    const Type* keys = static_cast<const Type*>(a.kv.keys) + begin * a.head_dim;
    if constexpr (sizeof(Type) < sizeof(float)) {
      if (a.n_queries >= kTileQueries) {
        const size_t groups = (v_end * kLanes + 15) / 16;
        ConvertKeys<Cache>(keys, groups * a.head_dim * 16, w.tile);
        Panels<F32Cache>(a, w, begin, w.tile, v_begin, v_end);
        return;
      }
    }
    Panels<Cache>(a, w, begin, keys, v_begin, v_end);
  }
};

template <>
struct Scorer<Int8Cache> {
  static HWY_INLINE void Prepare(const AttentionBlock& a, Work& w) {
    int8_t* codes = reinterpret_cast<int8_t*>(w.q);
    for (size_t i = 0; i < a.n_queries; ++i) {
      float scale;
      w.q_sums[i] = QuantizeVector(a.queries[i].q, a.head_dim, codes + i * w.padded, &scale);
      w.q_scales[i] = scale * a.scale;
    }
  }
  static HWY_INLINE void Tile(const AttentionBlock& a, const Work& w, size_t begin, size_t v_begin,
                              size_t v_end) {
    const size_t quads = (a.head_dim + 3) / 4;
    const int8_t* keys = static_cast<const int8_t*>(a.kv.keys) + begin * quads * 4;
    const int8_t* codes = reinterpret_cast<const int8_t*>(w.q);
    ForPanels(a.n_queries, [&]<size_t Q>(size_t first) HWY_ATTR {
      const Int8Queries q = {codes + first * w.padded, w.padded, w.q_sums + first,
                             w.q_scales + first};
      float* scores = w.scores + first * kKeyBlock + begin;
      size_t v = v_begin;
      for (; v + kIntVectors<Q> <= v_end; v += kIntVectors<Q>) {
        Int8DotTile<Q, kIntVectors<Q>>(keys, a.kv.key_scales + begin, a.head_dim, q, v, scores);
      }
      for (; v < v_end; ++v) {
        Int8DotTile<Q, 1>(keys, a.kv.key_scales + begin, a.head_dim, q, v, scores);
      }
    });
  }
};

// The greater of two numbers; `greatest`, which is not nan, where the score is nan.
HWY_INLINE Floats GreaterNumber(Floats score, Floats greatest) {
#if HWY_TARGET == HWY_NEON
  return hn::IfThenElse(hn::Gt(score, greatest), score, greatest);
#else
  return hn::Max(score, greatest);  // x86 returns the second where one is nan, NEON nan
#endif
}

// Whole vectors: what lies beyond the range takes no part in softmax.
void CapScores(float* scores, Range range, float cap) {
  const auto caps = hn::Set(F32(), cap);
  for (size_t j = range.begin / kLanes * kLanes; j < range.end; j += kLanes) {
    hn::Store(CapSoftly(hn::Load(F32(), scores + j), caps), F32(), scores + j);
  }
}

// Replaces the scores of one query, whose range is not empty, by exp(score - maximum).
HWY_INLINE void Softmax(float* scores, Range range, float* maximum, float* sum) {
  const F32 d;
  const size_t begin = range.begin / kLanes * kLanes;
  const size_t end = (range.end + kLanes - 1) / kLanes * kLanes;
  for (size_t j = begin; j < range.begin; ++j) scores[j] = -kInfinity;
  for (size_t j = range.end; j < end; ++j) scores[j] = -kInfinity;
  auto greatest = hn::Set(d, -kInfinity);
  for (size_t j = begin; j < end; j += kLanes) {
    greatest = GreaterNumber(hn::Load(d, scores + j), greatest);
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(greatest, d, lanes);
  float m = lanes[0];
  for (size_t i = 1; i < kLanes; ++i) m = lanes[i] > m ? lanes[i] : m;
  // Every score is nan or -inf: say so, rather than look like a block without visible keys.
  if (m == -kInfinity) m = __builtin_nanf("");
  m += 0.0f;

  PartialSums sums;
  const auto maxima = hn::Set(d, m);
  for (size_t j = begin; j < end; j += kLanes) {
    const auto p = Exp(hn::Sub(hn::Load(d, scores + j), maxima));
    Floats& partial = sums.v[j / kLanes % kVectorsPerTile];
    partial = hn::Add(partial, p);
    hn::Store(p, d, scores + j);
  }
  *maximum = m;
  *sum = sums.Fold();
}

// Replaces exp(score - maximum) of one query by its product with the values' scales, and codes it;
// the codes of keys that are not visible are 0. value_scales is of the block's first key.
HWY_INLINE void CodeWeights(float* p, Range range, const float* value_scales, int16_t* codes,
                            float* scale) {
  const F32 d;
  const hn::Rebind<int16_t, F32> d16;
  const size_t begin = range.begin / kLanes * kLanes;
  const size_t end = (range.end + kLanes - 1) / kLanes * kLanes;
  for (size_t j = begin; j < end; j += kLanes) {
    hn::Store(hn::Mul(hn::Load(d, p + j), hn::LoadU(d, value_scales + j)), d, p + j);
  }
  for (size_t j = begin; j < range.begin; ++j) p[j] = 0;
  for (size_t j = range.end; j < end; ++j) p[j] = 0;
  memset(codes, 0, kKeyBlock * sizeof(*codes));
  const float inverse = InverseScale(p + range.begin, range.end - range.begin, 32767.0f, scale);
  if (inverse == 0) return;
  for (size_t j = begin; j < end; j += kLanes) {
    const auto code = hn::NearestInt(hn::Mul(hn::Load(d, p + j), hn::Set(d, inverse)));
    hn::StoreU(hn::DemoteTo(d16, code), d16, codes + j);
  }
}

// Adds the values of the keys `tile` (of the block) to the outputs of Q queries. Each query takes
// the keys that it sees in order: first what it sees before the keys that all see, then those
// together, then the rest.
template <class Source, size_t Q>
HWY_INLINE void AddPanel(const Work& w, size_t first, Range tile,
                         const typename Source::Type* values, size_t stride, size_t columns) {
  Range seen[Q], all = tile;
  for (size_t i = 0; i < Q; ++i) {
    seen[i] = Intersect(w.visible[first + i], tile);
    all = Intersect(all, seen[i]);
  }
  const auto add = [&](size_t i, size_t begin, size_t end) HWY_ATTR {
    if (begin >= end) return;
    AddValues<Source, 1>(values + (begin - tile.begin) * stride, stride, end - begin, columns,
                         w.scores + (first + i) * kKeyBlock + begin, w.out + (first + i) * w.padded,
                         w.padded);
  };
  const bool some = all.begin < all.end;
  for (size_t i = 0; i < Q; ++i) add(i, seen[i].begin, some ? all.begin : seen[i].end);
  if (!some) return;
  AddValues<Source, Q>(values + (all.begin - tile.begin) * stride, stride, all.end - all.begin,
                       columns, w.scores + first * kKeyBlock + all.begin, w.out + first * w.padded,
                       w.padded);
  for (size_t i = 0; i < Q; ++i) add(i, all.end, seen[i].end);
}

// The outputs of this block from its weights, tile by tile.
template <class Cache>
struct Summer {
  using Type = typename Cache::Type;

  static HWY_INLINE void Prepare(const AttentionBlock&, Work&) {}
  static HWY_INLINE void Tile(const AttentionBlock& a, const Work& w, Range tile) {
    const Type* values =
        static_cast<const Type*>(a.kv.values) + tile.begin * a.kv.value_stride;
    if (a.n_queries >= kTileQueries) {
      ConvertValues<Cache>(values, a.kv.value_stride, tile.end - tile.begin, a.head_dim, w.padded,
                           w.tile);
      ForPanels(a.n_queries, [&]<size_t Q>(size_t first) HWY_ATTR {
        AddPanel<F32Cache, Q>(w, first, tile, w.tile, w.padded, w.padded);
      });
      return;
    }
    ForPanels(a.n_queries, [&]<size_t Q>(size_t first) HWY_ATTR {
      AddPanel<Cache, Q>(w, first, tile, values, a.kv.value_stride, a.head_dim);
    });
  }
  static HWY_INLINE void Finish(const AttentionBlock&, const Work&) {}
};

template <>
struct Summer<Int8Cache> {
  static HWY_INLINE void Prepare(const AttentionBlock& a, Work& w) {
    for (size_t i = 0; i < a.n_queries; ++i) {
      if (w.visible[i].begin == w.visible[i].end) {
        w.weight_scales[i] = 0;
        memset(w.codes + i * kKeyBlock, 0, kKeyBlock * sizeof(*w.codes));
        continue;
      }
      CodeWeights(w.scores + i * kKeyBlock, w.visible[i], a.kv.value_scales,
                  w.codes + i * kKeyBlock, w.weight_scales + i);
    }
  }
  // Whole pairs: the weights of keys that nobody sees are 0.
  static HWY_INLINE void Tile(const AttentionBlock& a, const Work& w, Range tile) {
    const size_t begin = tile.begin / 2 * 2, pairs = (tile.end - begin + 1) / 2;
    const size_t stride = a.kv.value_stride;
    const int8_t* rows = static_cast<const int8_t*>(a.kv.values) + begin * stride;
    int16_t* values = reinterpret_cast<int16_t*>(w.tile);
    ConvertPairs(rows, stride, 2 * pairs, a.head_dim, w.padded, values);
    ForPanels(a.n_queries, [&]<size_t Q>(size_t first) HWY_ATTR {
      AddPairs<Q>(values, w.padded, pairs, w.codes + first * kKeyBlock + begin,
                  w.out + first * w.padded);
    });
  }
  static HWY_INLINE void Finish(const AttentionBlock& a, const Work& w) {
    for (size_t i = 0; i < a.n_queries; ++i) {
      const auto scale = hn::Set(F32(), w.weight_scales[i]);
      float* out = w.out + i * w.padded;
      for (size_t c = 0; c < w.padded; c += kLanes) {
        hn::Store(hn::Mul(IntsToFloats(LoadInts(out + c)), scale), F32(), out + c);
      }
    }
  }
};

// out = fma(out, old_factor, o * new_factor), n floats: how a block joins a state (kernels.h).
HWY_INLINE void JoinOut(float old_factor, float new_factor, const float* o, float* out, size_t n) {
  const F32 d;
  const auto old_factors = hn::Set(d, old_factor), new_factors = hn::Set(d, new_factor);
  for (size_t c = 0; c < n; c += kLanes) {
    const auto added = hn::Mul(LoadUpTo(o + c, n - c), new_factors);
    StoreUpTo(hn::MulAdd(LoadUpTo(out + c, n - c), old_factors, added), out + c, n - c);
  }
}

HWY_INLINE void Join(const AttentionBlock& a, const Work& w) {
  const F32 d;
  HWY_ALIGN float old_factors[kLanes], new_factors[kLanes], next[kLanes];
  for (size_t first = 0; first < a.n_queries; first += kLanes) {
    const size_t n = HWY_MIN(kLanes, a.n_queries - first);
    const auto before = LoadUpTo(a.maximum + first, n);
    const auto here = LoadUpTo(w.maximum + first, n);
    const auto greater = hn::IfThenElse(hn::Gt(here, before), here, before);
    hn::Store(greater, d, next);
    hn::Store(Exp(hn::Sub(before, greater)), d, old_factors);
    hn::Store(Exp(hn::Sub(here, greater)), d, new_factors);
    for (size_t i = 0; i < n; ++i) {
      const size_t query = first + i;
      if (w.visible[query].begin == w.visible[query].end) continue;
      a.maximum[query] = next[i];
      a.sum[query] = __builtin_fmaf(a.sum[query], old_factors[i], w.sum[query] * new_factors[i]);
      JoinOut(old_factors[i], new_factors[i], w.out + query * w.padded,
              a.out + query * a.out_stride, a.head_dim);
    }
  }
}

template <class Cache>
HWY_INLINE void Block(const AttentionBlock& a) {
  Work w(a);
  if (w.any.begin >= w.any.end) return;
  Scorer<Cache>::Prepare(a, w);
  const size_t first_tile = w.any.begin / kKeyTile * kKeyTile;
  for (size_t begin = first_tile; begin < w.any.end; begin += kKeyTile) {
    const Range keys = Intersect(w.any, {begin, begin + kKeyTile});
    Scorer<Cache>::Tile(a, w, begin, (keys.begin - begin) / kLanes,
                        (keys.end - begin + kLanes - 1) / kLanes);
  }
  for (size_t i = 0; i < a.n_queries; ++i) {
    w.maximum[i] = w.sum[i] = 0;
    if (w.visible[i].begin == w.visible[i].end) continue;
    if (a.softcap != 0) CapScores(w.scores + i * kKeyBlock, w.visible[i], a.softcap);
    Softmax(w.scores + i * kKeyBlock, w.visible[i], w.maximum + i, w.sum + i);
  }
  Summer<Cache>::Prepare(a, w);
  memset(w.out, 0, a.n_queries * w.padded * sizeof(float));
  for (size_t begin = first_tile; begin < w.any.end; begin += kKeyTile) {
    Summer<Cache>::Tile(a, w, Intersect(w.any, {begin, begin + kKeyTile}));
  }
  Summer<Cache>::Finish(a, w);
  Join(a, w);
}

// exp of two numbers at the price of one.
HWY_INLINE void ExpPair(float a, float b, float* exp_a, float* exp_b) {
  HWY_ALIGN float lanes[kLanes] = {a, b};
  hn::Store(Exp(hn::Load(F32(), lanes)), F32(), lanes);
  *exp_a = lanes[0];
  *exp_b = lanes[1];
}

}  // namespace

void KvStoreF32(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  StoreKeyValue<F32Cache>(key, value, head_dim, kv, index);
}
void KvStoreF16(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  StoreKeyValue<F16Cache>(key, value, head_dim, kv, index);
}
void KvStoreInt8(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  StoreInt8KeyValue(key, value, head_dim, kv, index);
}

void AttentionBlockF32(const AttentionBlock& a) {
  Block<F32Cache>(a);
}
void AttentionBlockF16(const AttentionBlock& a) {
  Block<F16Cache>(a);
}
void AttentionBlockInt8(const AttentionBlock& a) {
  Block<Int8Cache>(a);
}

void AttentionCombine(const float* maximum, const float* sum, size_t stat_stride,
                      const float* partial, size_t partial_stride, size_t n, size_t head_dim,
                      float* out) {
  const F32 d;
  float m = -kInfinity, s = -0.0f;
  for (size_t c = 0; c < head_dim; ++c) out[c] = -0.0f;
  for (size_t i = 0; i < n; ++i) {
    const float block_max = maximum[i * stat_stride], block_sum = sum[i * stat_stride];
    if (block_sum == 0) continue;
    const float next = block_max > m ? block_max : m;
    float old_factor, new_factor;
    ExpPair(m - next, block_max - next, &old_factor, &new_factor);
    s = __builtin_fmaf(s, old_factor, block_sum * new_factor);
    JoinOut(old_factor, new_factor, partial + i * partial_stride, out, head_dim);
    m = next;
  }
  if (s == 0) {
    memset(out, 0, head_dim * sizeof(float));
    return;
  }
  const auto total = hn::Set(d, s);
  for (size_t c = 0; c < head_dim; c += kLanes) {
    StoreUpTo(hn::Div(LoadUpTo(out + c, head_dim - c), total), out + c, head_dim - c);
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
