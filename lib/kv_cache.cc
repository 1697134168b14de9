#include "lib/kv_cache.h"

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
  key_bytes_ = CheckedTimes(kKeyBlock * row.bytes, key_dim, kCache);
  value_bytes_ = CheckedTimes(kKeyBlock * row.bytes, head_dim, kCache);
  scale_bytes_ = row.has_scales ? kKeyBlock * sizeof(float) : 0;
  block_bytes_ = CheckedPlus(CheckedPlus(key_bytes_, value_bytes_, kCache), 2 * scale_bytes_, kCache);
  const uint64_t blocks = CheckedTimes(capacity_ / kKeyBlock, n_layers * n_kv_heads, kCache);
  bytes_ = CheckedTimes(block_bytes_, blocks, kCache);
  data_ = ReservePages(bytes_);
  if (!data_) {
    throw Error("out of memory: the cache of " + std::to_string(capacity) + " tokens needs " +
                std::to_string(bytes_ >> 20) + " MiB");
  }
}

KvCache::~KvCache() { ReleasePages(data_, bytes_); }

KvBlock KvCache::Block(size_t layer, size_t head, size_t block) const {
  const size_t index = (layer * (capacity_ / kKeyBlock) + block) * n_heads_ + head;
  uint8_t* const keys = data_ + block_bytes_ * index;
  KvBlock result = {keys, keys + key_bytes_, head_dim_};
  if (scale_bytes_ != 0) {
    result.key_scales = reinterpret_cast<float*>(keys + key_bytes_ + value_bytes_);
    result.value_scales = result.key_scales + kKeyBlock;
  }
  return result;
}

}  // namespace glint
