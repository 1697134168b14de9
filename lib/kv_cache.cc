#include "lib/kv_cache.h"

#include "lib/error.h"
#include "lib/pages.h"

namespace glint {
namespace {

struct KvTypeRow {
  const char* name;
  size_t bytes;
};
constexpr KvTypeRow kKvTypes[kKvTypeCount] = {{"f32", 4}, {"f16", 2}};

}  // namespace

const char* Name(KvType type) { return kKvTypes[static_cast<size_t>(type)].name; }

bool ParseKvType(std::string_view name, KvType* type) {
  for (size_t i = 0; i < kKvTypeCount; ++i) {
    if (name != kKvTypes[i].name) continue;
    *type = static_cast<KvType>(i);
    return true;
  }
  return false;
}

KvCache::KvCache(size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t capacity, KvType type)
    : n_heads_(n_kv_heads),
      head_dim_(head_dim),
      capacity_((capacity + kKeyBlock - 1) / kKeyBlock * kKeyBlock),
      type_(type) {
  const uint64_t element = kKvTypes[static_cast<size_t>(type)].bytes;
  if (__builtin_mul_overflow(uint64_t{capacity_} * element, head_dim, &head_bytes_) ||
      __builtin_mul_overflow(2 * head_bytes_, n_layers * n_kv_heads, &bytes_)) {
    throw Error("a context of " + std::to_string(capacity) + " tokens is too long");
  }
  data_ = ReservePages(bytes_);
  if (!data_) {
    throw Error("out of memory: the cache of " + std::to_string(capacity) + " tokens needs " +
                std::to_string(bytes_ >> 20) + " MiB");
  }
}

KvCache::~KvCache() { ReleasePages(data_, bytes_); }

KvHead KvCache::Head(size_t layer, size_t head) const {
  uint8_t* const at = data_ + 2 * head_bytes_ * (layer * n_heads_ + head);
  return {at, at + head_bytes_, head_dim_};
}

}  // namespace glint
