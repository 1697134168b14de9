#include "lib/kv_cache.h"

#include <sys/mman.h>

#include "lib/checked_math.h"
#include "lib/error.h"
#include "lib/pages.h"

namespace glint {
namespace {

struct KvTypeRow {
  const char* name;
  size_t bytes;     // of an element
  size_t quantum;   // of head_dim, in keys
  bool has_scales;  // one f32 per key and per value
};
constexpr KvTypeRow kKvTypes[kKvTypeCount] = {
    {"f32", 4, 1, false}, {"f16", 2, 1, false}, {"int8", 1, 4, true}};

constexpr char kCache[] = "cache";

// Caches up to this size ask for huge pages: one token reads all of the cache, and on the machine of
// docs/KERNELS.md a read of 2 MiB pages was nearly twice as fast. They become resident as a whole
// with the first positions, which a larger cache (a long context that may never fill) should not.
constexpr uint64_t kHugeCacheBytes = uint64_t{512} << 20;

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
  const KvTypeRow& row = kKvTypes[static_cast<size_t>(type)];
  const uint64_t key_dim = (head_dim + row.quantum - 1) / row.quantum * row.quantum;
  key_bytes_ = CheckedTimes(capacity_, CheckedTimes(row.bytes, key_dim, kCache), kCache);
  value_bytes_ = CheckedTimes(capacity_, CheckedTimes(row.bytes, head_dim, kCache), kCache);
  scale_bytes_ = row.has_scales ? capacity_ * sizeof(float) : 0;
  head_bytes_ = CheckedPlus(CheckedPlus(key_bytes_, value_bytes_, kCache), 2 * scale_bytes_, kCache);
  bytes_ = CheckedTimes(head_bytes_, CheckedTimes(n_layers, n_kv_heads, kCache), kCache);
  data_ = ReservePages(bytes_);
  if (!data_) {
    throw Error("out of memory: the cache of " + std::to_string(capacity) + " tokens needs " +
                std::to_string(bytes_ >> 20) + " MiB");
  }
#if defined(MADV_HUGEPAGE)
  // Where the system has none, this fails, and nothing else changes.
  if (bytes_ <= kHugeCacheBytes) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
}

KvCache::~KvCache() { ReleasePages(data_, bytes_); }

KvHead KvCache::Head(size_t layer, size_t head) const {
  uint8_t* const keys = data_ + head_bytes_ * (layer * n_heads_ + head);
  KvHead result = {keys, keys + key_bytes_, head_dim_};
  if (scale_bytes_ != 0) {
    result.key_scales = reinterpret_cast<float*>(keys + key_bytes_ + value_bytes_);
    result.value_scales = result.key_scales + capacity_;
  }
  return result;
}

}  // namespace glint
