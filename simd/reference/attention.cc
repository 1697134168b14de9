#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/f16.h"
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

template <class Cache>
void Store(const float* key, const float* value, size_t head_dim, KvHead kv, size_t index) {
  auto* keys = static_cast<typename Cache::Type*>(kv.keys);
  auto* values = static_cast<typename Cache::Type*>(kv.values);
  for (size_t d = 0; d < head_dim; ++d) {
    keys[KeyPlace(index, d, head_dim)] = Cache::Store(key[d]);
    values[index * kv.value_stride + d] = Cache::Store(value[d]);
  }
}

// One query over the visible keys [begin, end) of the block, at least one.
template <class Cache>
void Query(const AttentionBlock& a, size_t i, size_t begin, size_t end) {
  const auto* keys = static_cast<const typename Cache::Type*>(a.kv.keys);
  const auto* values = static_cast<const typename Cache::Type*>(a.kv.values);
  const float* q = a.q + i * a.q_stride;
  float scores[kKeyBlock];
  float maximum = -kInfinity;
  for (size_t j = begin; j < end; ++j) {
    float dot = 0;
    for (size_t d = 0; d < a.head_dim; ++d) {
      dot = std::fma(q[d], Cache::Load(keys[KeyPlace(j, d, a.head_dim)]), dot);
    }
    const float score = dot * a.scale;
    scores[j - a.key_begin] = score;
    maximum = score > maximum ? score : maximum;
  }
  // Every score is nan or -inf: say so, rather than look like a block without visible keys.
  if (maximum == -kInfinity) maximum = std::numeric_limits<float>::quiet_NaN();
  maximum += 0.0f;

  float* out = a.out + i * a.out_stride;
  float sums[16] = {};
  std::fill(out, out + a.head_dim, 0.0f);
  for (size_t j = begin; j < end; ++j) {
    const float p = Exp(scores[j - a.key_begin] - maximum);
    sums[j % 16] += p;
    for (size_t d = 0; d < a.head_dim; ++d) {
      out[d] = std::fma(p, Cache::Load(values[j * a.kv.value_stride + d]), out[d]);
    }
  }
  a.maximum[i] = maximum;
  a.sum[i] = Fold(sums);
}

template <class Cache>
void Block(const AttentionBlock& a) {
  for (size_t i = 0; i < a.n_queries; ++i) {
    const int64_t block = static_cast<int64_t>(a.key_begin);
    const int64_t begin = std::max<int64_t>(a.visible[2 * i], block);
    const int64_t end = std::min<int64_t>(a.visible[2 * i + 1], block + int64_t{kKeyBlock});
    if (begin < end) {
      Query<Cache>(a, i, static_cast<size_t>(begin), static_cast<size_t>(end));
      continue;
    }
    a.maximum[i] = -kInfinity;
    a.sum[i] = 0;
    std::fill(a.out + i * a.out_stride, a.out + i * a.out_stride + a.head_dim, 0.0f);
  }
}

}  // namespace

void KvStoreF32(const float* key, const float* value, size_t head_dim, KvHead kv, size_t index) {
  Store<F32>(key, value, head_dim, kv, index);
}
void KvStoreF16(const float* key, const float* value, size_t head_dim, KvHead kv, size_t index) {
  Store<F16>(key, value, head_dim, kv, index);
}
void AttentionBlockF32(const AttentionBlock& a) {
  Block<F32>(a);
}
void AttentionBlockF16(const AttentionBlock& a) {
  Block<F16>(a);
}

void AttentionCombine(const float* maximum, const float* sum, size_t stat_stride,
                      const float* partial, size_t partial_stride, size_t n, size_t head_dim,
                      float* out) {
  bool found = false;
  float m = 0, s = 0;
  std::fill(out, out + head_dim, 0.0f);
  for (size_t i = 0; i < n; ++i) {
    const float block_max = maximum[i * stat_stride], block_sum = sum[i * stat_stride];
    const float* o = partial + i * partial_stride;
    if (block_max == -kInfinity) continue;
    if (!found) {
      found = true;
      m = block_max;
      s = block_sum;
      std::copy(o, o + head_dim, out);
      continue;
    }
    const float next = block_max > m ? block_max : m;
    const float old_factor = Exp(m - next), new_factor = Exp(block_max - next);
    s = std::fma(s, old_factor, block_sum * new_factor);
    for (size_t d = 0; d < head_dim; ++d) out[d] = std::fma(out[d], old_factor, o[d] * new_factor);
    m = next;
  }
  for (size_t d = 0; found && d < head_dim; ++d) out[d] /= s;
}

}  // namespace glint::reference
