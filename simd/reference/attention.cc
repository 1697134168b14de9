#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/f16.h"
#include "simd/fma.h"
#include "simd/kernel_list.h"
#include "simd/reference/fold.h"
#include "simd/scalar_math.h"

namespace glint::reference {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct F32 {
  using Type = float;
  static float Load(float v) { return v; }
  static float Store(float v) { return v; }
};
struct F16 {
  using Type = uint16_t;
  static float Load(uint16_t v) { return F16ToF32(v); }
  static uint16_t Store(float v) { return F32ToF16(v); }
};

// Key `index`, element d, lies at this place of the interleaved keys.
size_t KeyPlace(size_t index, size_t d, size_t head_dim) {
  return (index / 16 * head_dim + d) * 16 + index % 16;
}
size_t Int8KeyPlace(size_t index, size_t d, size_t head_dim) {
  const size_t quads = (head_dim + 3) / 4;
  return (index / 16 * quads + d / 4) * 64 + index % 16 * 4 + d % 4;
}

// A vector of n numbers as codes, of at most `limit`, times a scale: what quantize_rows does with a
// block.
struct Quantizer {
  float scale = 0, inverse = 0;

  Quantizer(const float* x, size_t n, float limit = 127.0f) {
    float largest = 0;
    bool finite = true;
    for (size_t i = 0; i < n; ++i) {
      finite &= std::isfinite(x[i]);
      largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
    }
    inverse = limit / largest;
    const bool zero = !finite || !std::isfinite(inverse);
    scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0f : largest / limit;
    if (zero) inverse = 0;
  }
  int32_t Code(float x) const {
    return inverse == 0 ? 0 : static_cast<int32_t>(std::nearbyint(x * inverse));
  }
};

template <class Cache>
void Store(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  auto* keys = static_cast<typename Cache::Type*>(kv.keys);
  auto* values = static_cast<typename Cache::Type*>(kv.values);
  for (size_t d = 0; d < head_dim; ++d) {
    keys[KeyPlace(index, d, head_dim)] = Cache::Store(key[d]);
    values[index * kv.value_stride + d] = Cache::Store(value[d]);
  }
}

// The score of key j, by type of the cache.
template <class Cache>
float Score(const AttentionBlock& a, const float* q, size_t j) {
  const auto* keys = static_cast<const typename Cache::Type*>(a.kv.keys);
  float dot = 0;
  for (size_t d = 0; d < a.head_dim; ++d) {
    dot = Fma(q[d], Cache::Load(keys[KeyPlace(j, d, a.head_dim)]), dot);
  }
  return dot * a.scale;
}

struct Int8 {};
template <>
float Score<Int8>(const AttentionBlock& a, const float* q, size_t j) {
  const auto* keys = static_cast<const int8_t*>(a.kv.keys);
  const Quantizer quantizer(q, a.head_dim);
  int32_t dot = 0;
  for (size_t d = 0; d < a.head_dim; ++d) {
    dot += quantizer.Code(q[d]) * keys[Int8KeyPlace(j, d, a.head_dim)];
  }
  return static_cast<float>(dot) * (quantizer.scale * a.scale) * a.kv.key_scales[j];
}

// o = sum of p[j - begin] * value of key j, over keys [begin, end).
template <class Cache>
void SumValues(const AttentionBlock& a, const float* p, size_t begin, size_t end, float* o) {
  std::fill(o, o + a.head_dim, 0.0f);
  for (size_t j = begin; j < end; ++j) {
    const auto* value =
        static_cast<const typename Cache::Type*>(a.kv.values) + j * a.kv.value_stride;
    for (size_t d = 0; d < a.head_dim; ++d) {
      o[d] = Fma(p[j - begin], Cache::Load(value[d]), o[d]);
    }
  }
}
template <>
void SumValues<Int8>(const AttentionBlock& a, const float* p, size_t begin, size_t end, float* o) {
  float weights[kKeyBlock];
  for (size_t j = begin; j < end; ++j) weights[j - begin] = p[j - begin] * a.kv.value_scales[j];
  const Quantizer quantizer(weights, end - begin, 32767.0f);
  const auto* values = static_cast<const int8_t*>(a.kv.values);
  for (size_t d = 0; d < a.head_dim; ++d) {
    int32_t sum = 0;
    for (size_t j = begin; j < end; ++j) {
      sum += quantizer.Code(weights[j - begin]) * values[j * a.kv.value_stride + d];
    }
    o[d] = static_cast<float>(sum) * quantizer.scale;
  }
}

// What attention keeps of some keys: the maximum, the sum, and head_dim outputs.
struct State {
  float *maximum, *sum, *out;
};

// A block's maximum, sum and outputs join a state.
void Join(float maximum, float sum, const float* out, size_t head_dim, State state) {
  const float next = maximum > *state.maximum ? maximum : *state.maximum;
  const float old_factor = Exp(*state.maximum - next), new_factor = Exp(maximum - next);
  *state.maximum = next;
  *state.sum = Fma(*state.sum, old_factor, sum * new_factor);
  for (size_t d = 0; d < head_dim; ++d) {
    state.out[d] = Fma(state.out[d], old_factor, out[d] * new_factor);
  }
}

// One query over the visible keys [begin, end) of the block, at least one, counted from its first.
template <class Cache>
void Query(const AttentionBlock& a, size_t i, size_t begin, size_t end) {
  float p[kKeyBlock];  // scores, then exp(score - maximum)
  float maximum = -kInfinity;
  for (size_t j = begin; j < end; ++j) {
    float score = Score<Cache>(a, a.queries[i].q, j);
    if (a.softcap != 0) score = a.softcap * Tanh(score / a.softcap);
    p[j - begin] = score;
    maximum = score > maximum ? score : maximum;
  }
  // Every score is nan or -inf: say so, rather than look like a block without visible keys.
  if (maximum == -kInfinity) maximum = std::numeric_limits<float>::quiet_NaN();
  maximum += 0.0f;

  float* o = a.scratch;
  float sums[16] = {};
  for (size_t j = begin; j < end; ++j) {
    p[j - begin] = Exp(p[j - begin] - maximum);
    sums[j % 16] += p[j - begin];
  }
  SumValues<Cache>(a, p, begin, end, o);
  Join(maximum, Fold(sums), o, a.head_dim, {a.maximum + i, a.sum + i, a.out + i * a.out_stride});
}

template <class Cache>
void Block(const AttentionBlock& a) {
  for (size_t i = 0; i < a.n_queries; ++i) {
    const int64_t block = static_cast<int64_t>(a.key_begin);
    const int64_t begin = std::max<int64_t>(a.queries[i].begin, block);
    const int64_t end = std::min<int64_t>(a.queries[i].end, block + int64_t{kKeyBlock});
    if (begin >= end) continue;
    Query<Cache>(a, i, static_cast<size_t>(begin - block), static_cast<size_t>(end - block));
  }
}

}  // namespace

void KvStoreF32(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  Store<F32>(key, value, head_dim, kv, index);
}
void KvStoreF16(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  Store<F16>(key, value, head_dim, kv, index);
}
void KvStoreInt8(const float* key, const float* value, size_t head_dim, KvBlock kv, size_t index) {
  auto* keys = static_cast<int8_t*>(kv.keys);
  auto* values = static_cast<int8_t*>(kv.values) + index * kv.value_stride;
  const Quantizer key_quantizer(key, head_dim), value_quantizer(value, head_dim);
  kv.key_scales[index] = key_quantizer.scale;
  kv.value_scales[index] = value_quantizer.scale;
  for (size_t d = 0; d < head_dim; ++d) {
    keys[Int8KeyPlace(index, d, head_dim)] = static_cast<int8_t>(key_quantizer.Code(key[d]));
    values[d] = static_cast<int8_t>(value_quantizer.Code(value[d]));
  }
  for (size_t d = head_dim; d % 4 != 0; ++d) keys[Int8KeyPlace(index, d, head_dim)] = 0;
}

void AttentionBlockF32(const AttentionBlock& a) {
  Block<F32>(a);
}
void AttentionBlockF16(const AttentionBlock& a) {
  Block<F16>(a);
}
void AttentionBlockInt8(const AttentionBlock& a) {
  Block<Int8>(a);
}

void AttentionCombine(const float* maximum, const float* sum, size_t stat_stride,
                      const float* partial, size_t partial_stride, size_t n, size_t head_dim,
                      float* out) {
  float m = -kInfinity, s = -0.0f;
  std::fill(out, out + head_dim, -0.0f);
  for (size_t i = 0; i < n; ++i) {
    if (sum[i * stat_stride] == 0) continue;
    Join(maximum[i * stat_stride], sum[i * stat_stride], partial + i * partial_stride, head_dim,
         {&m, &s, out});
  }
  for (size_t d = 0; d < head_dim; ++d) out[d] = s == 0 ? 0.0f : out[d] / s;
}

}  // namespace glint::reference
