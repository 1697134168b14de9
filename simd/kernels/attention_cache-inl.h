#pragma once
// The types of the KV cache: how numbers are stored, loaded as f32, and laid out as a tile of f32.
#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// How kLanes elements (or the last n) are loaded and stored.
struct F32Cache {
  using Type = float;
  static HWY_INLINE Floats Load(const float* p) { return hn::LoadU(F32(), p); }
  static HWY_INLINE void Store(Floats v, float* p) { hn::StoreU(v, F32(), p); }
};

struct F16Cache {
  using Type = hwy::float16_t;
  using D = hn::Rebind<hwy::float16_t, F32>;
  static HWY_INLINE Floats Load(const Type* p) { return hn::PromoteTo(F32(), hn::LoadU(D(), p)); }
  static HWY_INLINE void Store(Floats v, Type* p) { hn::StoreU(hn::DemoteTo(D(), v), D(), p); }
};

struct Int8Cache {
  using Type = int8_t;
  using D = hn::Rebind<int8_t, F32>;
  static HWY_INLINE Floats Load(const int8_t* p) {
    return hn::ConvertTo(F32(), hn::PromoteTo(I32(), hn::LoadU(D(), p)));
  }
};

template <class Cache>
HWY_INLINE Floats LoadCacheUpTo(const typename Cache::Type* p, size_t n) {
  if (n >= kLanes) return Cache::Load(p);
  HWY_ALIGN typename Cache::Type buffer[kLanes] = {};
  memcpy(buffer, p, n * sizeof(*p));
  return Cache::Load(buffer);
}

// The scale of n numbers as codes of at most `limit`, as quantize_rows chooses it. Returns what a
// number is multiplied with to become a code; 0 where all codes are 0.
HWY_INLINE float InverseScale(const float* x, size_t n, float limit, float* scale) {
  const I32 di;
  constexpr int32_t kInfinityBits = 0x7f800000;
  // Without their sign, floats compare as their bits do, and inf and nan are the greatest.
  auto largest_bits = hn::Zero(di);
  for (size_t i = 0; i < n; i += kLanes) {
    largest_bits = hn::Max(largest_bits, hn::BitCast(di, hn::Abs(LoadUpTo(x + i, n - i))));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest_bits));
  float largest;
  memcpy(&largest, &bits, sizeof(largest));
  const float inverse = limit / largest;
  const bool finite = bits < kInfinityBits;
  const bool zero = !finite || inverse == kInfinity;
  *scale = !finite ? __builtin_nanf("") : zero ? 0.0f : largest / limit;
  return zero ? 0.0f : inverse;
}

// kLanes codes of the first n numbers at x, the others 0.
HWY_INLINE hn::Vec<I32> CodesOf(const float* x, size_t n, float inverse) {
  if (inverse == 0) return hn::Zero(I32());
  return hn::NearestInt(hn::Mul(LoadUpTo(x, n), hn::Set(F32(), inverse)));
}

// n numbers as codes with one scale, then zeros up to a multiple of 16. Returns the codes' sum.
HWY_INLINE int32_t QuantizeVector(const float* x, size_t n, int8_t* codes, float* scale) {
  const float inverse = InverseScale(x, n, 127.0f, scale);
  memset(codes + (n - 1) / 16 * 16, 0, 16);
  auto sum = hn::Zero(I32());
  for (size_t i = 0; i < n; i += kLanes) {
    const auto code = CodesOf(x + i, n - i, inverse);
    sum = hn::Add(sum, code);
    hn::StoreU(hn::DemoteTo(Int8Cache::D(), code), Int8Cache::D(), codes + i);
  }
  return hn::GetLane(hn::SumOfLanes(I32(), sum));
}

// n elements as f32; n is a multiple of 16.
template <class Cache>
HWY_INLINE void ConvertKeys(const typename Cache::Type* keys, size_t n, float* tile) {
  for (size_t i = 0; i < n; i += 16) {
    GLINT_UNROLL
    for (size_t j = 0; j < 16; j += kLanes) {
      hn::Store(Cache::Load(keys + i + j), F32(), tile + i + j);
    }
  }
}

// Rows of head_dim elements as rows of `padded` floats, the rest zeros.
template <class Cache>
HWY_INLINE void ConvertValues(const typename Cache::Type* values, size_t stride, size_t rows,
                              size_t head_dim, size_t padded, float* tile) {
  for (size_t r = 0; r < rows; ++r, values += stride, tile += padded) {
    size_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) hn::Store(Cache::Load(values + d), F32(), tile + d);
    for (; d < padded; d += kLanes) {
      hn::Store(LoadCacheUpTo<Cache>(values + d, d < head_dim ? head_dim - d : 0), F32(), tile + d);
    }
  }
}

template <class Cache>
HWY_INLINE void StoreKeyValue(const float* key, const float* value, size_t head_dim, KvBlock kv,
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

HWY_INLINE void StoreInt8KeyValue(const float* key, const float* value, size_t head_dim, KvBlock kv,
                                  size_t index) {
  const size_t quads = (head_dim + 3) / 4;
  int8_t* keys = static_cast<int8_t*>(kv.keys) + index / 16 * quads * 64 + index % 16 * 4;
  int8_t* values = static_cast<int8_t*>(kv.values) + index * kv.value_stride;
  const float key_inverse = InverseScale(key, head_dim, 127.0f, kv.key_scales + index);
  const float value_inverse = InverseScale(value, head_dim, 127.0f, kv.value_scales + index);
  for (size_t i = 0; i < head_dim; i += kLanes) {
    const size_t n = HWY_MIN(head_dim - i, kLanes);
    HWY_ALIGN int8_t buffer[kLanes];
    hn::StoreU(hn::DemoteTo(Int8Cache::D(), CodesOf(value + i, n, value_inverse)), Int8Cache::D(),
               buffer);
    memcpy(values + i, buffer, n);
    hn::StoreU(hn::DemoteTo(Int8Cache::D(), CodesOf(key + i, n, key_inverse)), Int8Cache::D(),
               buffer);
    for (size_t j = 0; j < n; j += 4) memcpy(keys + (i + j) * 16, buffer + j, 4);
  }
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
