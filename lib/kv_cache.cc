#include "lib/kv_cache.h"

#include "lib/checked_math.h"
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
      capacity_(CheckedPlus(capacity, kKeyBlock - 1, "context") / kKeyBlock * kKeyBlock),
      type_(type) {
  const uint64_t element = kKvTypes[static_cast<size_t>(type)].bytes;
  head_bytes_ = CheckedTimes(CheckedTimes(capacity_, element, "cache"), head_dim, "cache");
  bytes_ = CheckedTimes(CheckedTimes(2, head_bytes_, "cache"), n_layers * n_kv_heads, "cache");
  data_ = ReservePages(bytes_, PageSize::kSmall);
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
