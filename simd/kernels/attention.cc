#include "simd/kernels/exp-inl.h"
#include "simd/kernels/fold-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Queries that share a pass over keys and values.
constexpr size_t kQueries = 4;

// The two types of the cache: how kLanes elements (or the last n) are loaded and stored.
struct F32Cache {
  using Type = float;
  static HWY_INLINE Floats Load(const float* p) { return hn::LoadU(F32(), p); }
  static HWY_INLINE Floats LoadUpTo(const float* p, size_t n) { return ISA::LoadUpTo(p, n); }
  static HWY_INLINE void Store(Floats v, float* p) { hn::StoreU(v, F32(), p); }
};

struct F16Cache {
  using Type = hwy::float16_t;
  using D = hn::Rebind<hwy::float16_t, F32>;
  static HWY_INLINE Floats Load(const Type* p) { return hn::PromoteTo(F32(), hn::LoadU(D(), p)); }
  static HWY_INLINE Floats LoadUpTo(const Type* p, size_t n) {
    if (n >= kLanes) return Load(p);
    HWY_ALIGN Type buffer[kLanes] = {};
    memcpy(buffer, p, n * sizeof(Type));
    return Load(buffer);
  }
  static HWY_INLINE void Store(Floats v, Type* p) { hn::StoreU(hn::DemoteTo(D(), v), D(), p); }
};

template <class Cache>
HWY_INLINE void Store(const float* key, const float* value, size_t head_dim, KvHead kv,
                      size_t index) {
  using Type = typename Cache::Type;
  Type* keys = static_cast<Type*>(kv.keys) + index / 16 * head_dim * 16 + index % 16;
  Type* values = static_cast<Type*>(kv.values) + index * kv.value_stride;
  for (size_t i = 0; i < head_dim; i += kLanes) {
    const size_t n = HWY_MIN(head_dim - i, kLanes);
    HWY_ALIGN Type buffer[kLanes];
    Cache::Store(LoadUpTo(value + i, n), buffer);
    memcpy(values + i, buffer, n * sizeof(Type));
    Cache::Store(LoadUpTo(key + i, n), buffer);
    for (size_t j = 0; j < n; ++j) memcpy(keys + (i + j) * 16, buffer + j, sizeof(Type));
  }
}

// The keys of the block that a query sees, counted from the block's first; begin == end if none.
struct Range {
  size_t begin, end;
};

HWY_INLINE Range VisibleRange(const AttentionBlock& a, size_t query) {
  const int64_t block = static_cast<int64_t>(a.key_begin);
  const int64_t lo = a.visible[2 * query] - block, hi = a.visible[2 * query + 1] - block;
  const int64_t begin = HWY_MAX(lo, 0), end = HWY_MIN(hi, int64_t{kKeyBlock});
  if (begin >= end) return {0, 0};
  return {static_cast<size_t>(begin), static_cast<size_t>(end)};
}

// Dots of Q queries with V vectors of keys, from vector `first` of the block on, times a.scale.
template <class Cache, size_t Q, size_t V>
HWY_INLINE void Dots(const AttentionBlock& a, const float* q, size_t first,
                     float (*scores)[kKeyBlock]) {
  const auto* keys = static_cast<const typename Cache::Type*>(a.kv.keys);
  const typename Cache::Type* at[V];
  Floats dots[V][Q];
  GLINT_UNROLL
  for (size_t v = 0; v < V; ++v) {
    const size_t key = a.key_begin + (first + v) * kLanes;
    at[v] = keys + key / 16 * a.head_dim * 16 + key % 16;
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) dots[v][i] = hn::Zero(F32());
  }
  for (size_t d = 0; d < a.head_dim; ++d) {
    Floats key[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) key[v] = Cache::Load(at[v] + d * 16);
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const auto element = hn::Set(F32(), q[i * a.q_stride + d]);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) dots[v][i] = hn::MulAdd(element, key[v], dots[v][i]);
    }
  }
  const auto scale = hn::Set(F32(), a.scale);
  GLINT_UNROLL
  for (size_t v = 0; v < V; ++v) {
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      hn::Store(hn::Mul(dots[v][i], scale), F32(), scores[i] + (first + v) * kLanes);
    }
  }
}

// Replaces the scores of one query, whose range is not empty, by exp(score - maximum), 0 where the
// key is not visible.
HWY_INLINE void Softmax(float* scores, Range range, float* maximum, float* sum) {
  const F32 d;
  const auto begin = hn::Set(d, static_cast<float>(range.begin));
  const auto end = hn::Set(d, static_cast<float>(range.end));
  const auto visible = [&](size_t v) HWY_ATTR {
    const auto index = hn::Iota(d, static_cast<float>(v * kLanes));
    return hn::And(hn::Ge(index, begin), hn::Lt(index, end));
  };
  const size_t v_begin = range.begin / kLanes, v_end = (range.end + kLanes - 1) / kLanes;
  auto greatest = hn::Set(d, -kInfinity);
  for (size_t v = v_begin; v < v_end; ++v) {
    const auto score = hn::Load(d, scores + v * kLanes);
    const auto greater = hn::And(visible(v), hn::Gt(score, greatest));
    greatest = hn::IfThenElse(greater, score, greatest);
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
  for (size_t v = v_begin; v < v_end; ++v) {
    const auto score = hn::Load(d, scores + v * kLanes);
    const auto p = hn::IfThenElseZero(visible(v), Exp(hn::Sub(score, maxima)));
    hn::Store(p, d, scores + v * kLanes);
    Floats& partial = sums.v[v % kVectorsPerTile];
    partial = hn::Add(partial, p);
  }
  *maximum = m;
  *sum = sums.Fold();
}

// out += p[key] * value[key] over keys [begin, end) of the block, for Q queries and the n columns
// from `column` on: V whole vectors, or part of one.
template <class Cache, size_t Q, size_t V>
HWY_INLINE void AddColumns(const AttentionBlock& a, const float (*p)[kKeyBlock], Range keys,
                           float* out, size_t column, size_t n) {
  const auto* value = static_cast<const typename Cache::Type*>(a.kv.values) +
                      (a.key_begin + keys.begin) * a.kv.value_stride + column;
  const bool whole = n >= V * kLanes;
  Floats acc[Q][V];
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      acc[i][v] = LoadUpTo(out + i * a.out_stride + column + v * kLanes, whole ? kLanes : n);
    }
  }
  for (size_t j = keys.begin; j < keys.end; ++j, value += a.kv.value_stride) {
    Floats values[V];
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      values[v] = Cache::LoadUpTo(value + v * kLanes, whole ? kLanes : n);
    }
    GLINT_UNROLL
    for (size_t i = 0; i < Q; ++i) {
      const auto weight = hn::Set(F32(), p[i][j]);
      GLINT_UNROLL
      for (size_t v = 0; v < V; ++v) acc[i][v] = hn::MulAdd(weight, values[v], acc[i][v]);
    }
  }
  GLINT_UNROLL
  for (size_t i = 0; i < Q; ++i) {
    GLINT_UNROLL
    for (size_t v = 0; v < V; ++v) {
      StoreUpTo(acc[i][v], out + i * a.out_stride + column + v * kLanes, whole ? kLanes : n);
    }
  }
}

template <class Cache, size_t Q>
HWY_INLINE void AddValues(const AttentionBlock& a, const float (*p)[kKeyBlock], Range keys,
                          float* out) {
  constexpr size_t kWide = 4;
  if (keys.begin >= keys.end) return;
  size_t column = 0;
  for (; column + kWide * kLanes <= a.head_dim; column += kWide * kLanes) {
    AddColumns<Cache, Q, kWide>(a, p, keys, out, column, kWide * kLanes);
  }
  for (; column < a.head_dim; column += kLanes) {
    AddColumns<Cache, Q, 1>(a, p, keys, out, column, HWY_MIN(a.head_dim - column, kLanes));
  }
}

// Queries [first, first + Q).
template <class Cache, size_t Q>
HWY_NOINLINE void Queries(const AttentionBlock& a, size_t first) {
  Range visible[Q];
  Range any = {kKeyBlock, 0};  // keys that some query sees
  Range all = {0, kKeyBlock};  // keys that all see
  for (size_t i = 0; i < Q; ++i) {
    visible[i] = VisibleRange(a, first + i);
    all = {HWY_MAX(all.begin, visible[i].begin), HWY_MIN(all.end, visible[i].end)};
    if (visible[i].begin == visible[i].end) continue;
    any = {HWY_MIN(any.begin, visible[i].begin), HWY_MAX(any.end, visible[i].end)};
  }
  HWY_ALIGN float p[Q][kKeyBlock];
  constexpr size_t kVectors = Q == 1 ? 4 : 2;  // enough fma chains to hide their latency
  const float* q = a.q + first * a.q_stride;
  const size_t v_end = (any.end + kLanes - 1) / kLanes;  // no further: the cache may end there
  size_t v = any.begin / kLanes;
  for (; v + kVectors <= v_end; v += kVectors) Dots<Cache, Q, kVectors>(a, q, v, p);
  for (; v < v_end; ++v) Dots<Cache, Q, 1>(a, q, v, p);
  for (size_t i = 0; i < Q; ++i) {
    float* out = a.out + (first + i) * a.out_stride;
    memset(out, 0, a.head_dim * sizeof(float));
    a.maximum[first + i] = -kInfinity;
    a.sum[first + i] = 0;
    if (visible[i].begin == visible[i].end) continue;
    Softmax(p[i], visible[i], a.maximum + first + i, a.sum + first + i);
    // What this query sees before the keys that all see, or everything if there are none.
    const size_t end = all.begin < all.end ? all.begin : visible[i].end;
    AddValues<Cache, 1>(a, p + i, {visible[i].begin, end}, out);
  }
  if (all.begin >= all.end) return;
  AddValues<Cache, Q>(a, p, all, a.out + first * a.out_stride);
  for (size_t i = 0; i < Q; ++i) {
    AddValues<Cache, 1>(a, p + i, {all.end, visible[i].end}, a.out + (first + i) * a.out_stride);
  }
}

template <class Cache>
HWY_INLINE void Block(const AttentionBlock& a) {
  size_t i = 0;
  for (; i + kQueries <= a.n_queries; i += kQueries) Queries<Cache, kQueries>(a, i);
  for (; i < a.n_queries; ++i) Queries<Cache, 1>(a, i);
}

// exp of two numbers at the price of one.
HWY_INLINE void ExpPair(float a, float b, float* exp_a, float* exp_b) {
  HWY_ALIGN float lanes[kLanes] = {a, b};
  hn::Store(Exp(hn::Load(F32(), lanes)), F32(), lanes);
  *exp_a = lanes[0];
  *exp_b = lanes[1];
}

}  // namespace

void KvStoreF32(const float* key, const float* value, size_t head_dim, KvHead kv, size_t index) {
  Store<F32Cache>(key, value, head_dim, kv, index);
}
void KvStoreF16(const float* key, const float* value, size_t head_dim, KvHead kv, size_t index) {
  Store<F16Cache>(key, value, head_dim, kv, index);
}
void AttentionBlockF32(const AttentionBlock& a) {
  Block<F32Cache>(a);
}
void AttentionBlockF16(const AttentionBlock& a) {
  Block<F16Cache>(a);
}

void AttentionCombine(const float* maximum, const float* sum, size_t stat_stride,
                      const float* partial, size_t partial_stride, size_t n, size_t head_dim,
                      float* out) {
  const F32 d;
  bool found = false;
  float m = 0, s = 0;
  memset(out, 0, head_dim * sizeof(float));
  for (size_t i = 0; i < n; ++i) {
    const float block_max = maximum[i * stat_stride], block_sum = sum[i * stat_stride];
    const float* o = partial + i * partial_stride;
    if (block_max == -kInfinity) continue;
    if (!found) {
      found = true;
      m = block_max;
      s = block_sum;
      memcpy(out, o, head_dim * sizeof(float));
      continue;
    }
    const float next = block_max > m ? block_max : m;
    float old_factor, new_factor;
    ExpPair(m - next, block_max - next, &old_factor, &new_factor);
    s = __builtin_fmaf(s, old_factor, block_sum * new_factor);
    const auto old_factors = hn::Set(d, old_factor), new_factors = hn::Set(d, new_factor);
    for (size_t c = 0; c < head_dim; c += kLanes) {
      const auto added = hn::Mul(LoadUpTo(o + c, head_dim - c), new_factors);
      const auto v = LoadUpTo(out + c, head_dim - c);
      StoreUpTo(hn::MulAdd(v, old_factors, added), out + c, head_dim - c);
    }
    m = next;
  }
  if (!found) return;
  const auto total = hn::Set(d, s);
  for (size_t c = 0; c < head_dim; c += kLanes) {
    StoreUpTo(hn::Div(LoadUpTo(out + c, head_dim - c), total), out + c, head_dim - c);
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
