#include "lib/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "lib/checked_math.h"
#include "lib/error.h"
#include "lib/system/pages.h"

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
// Positions whose keys are interleaved (KvBlock).
constexpr size_t kKeyLanes = 16;

uint64_t WholeBlocks(uint64_t positions) {
  return CheckedPlus(positions, kKeyBlock - 1, "context") / kKeyBlock;
}

}  // namespace

const char* Name(KvType type) {
  return kKvTypes[static_cast<size_t>(type)].name;
}

bool ParseKvType(std::string_view name, KvType* type) {
  for (size_t i = 0; i < kKvTypeCount; ++i) {
    if (name != kKvTypes[i].name) continue;
    *type = static_cast<KvType>(i);
    return true;
  }
  return false;
}

KvLayout::KvLayout(const KvShape& shape)
    : n_heads_(shape.n_heads),
      head_dim_(shape.head_dim),
      capacity_(WholeBlocks(shape.capacity) * kKeyBlock) {
  const KvTypeRow& row = kKvTypes[static_cast<size_t>(shape.type)];
  const uint64_t key_dim = (head_dim_ + row.quantum - 1) / row.quantum * row.quantum;
  key_bytes_ = CheckedTimes(kKeyBlock * row.bytes, key_dim, kCache);
  value_bytes_ = CheckedTimes(kKeyBlock * row.bytes, head_dim_, kCache);
  scale_bytes_ = row.has_scales ? kKeyBlock * sizeof(float) : 0;
  block_bytes_ =
      CheckedPlus(CheckedPlus(key_bytes_, value_bytes_, kCache), 2 * scale_bytes_, kCache);
  size_t blocks = 0;
  for (size_t i = 0; i < shape.n_layers; ++i) {
    Layer layer{blocks, capacity_ / kKeyBlock, i < shape.windows.size() ? shape.windows[i] : 0};
    if (layer.window != 0) {
      const uint64_t ring = CheckedPlus(layer.window - 1, shape.run, kCache);
      layer.blocks = std::min<size_t>(layer.blocks, WholeBlocks(ring));
    }
    blocks += layer.blocks;
    layers_.push_back(layer);
  }
  const uint64_t layer_block = CheckedTimes(block_bytes_, n_heads_, kCache);
  position_bytes_ = layer_block / kKeyBlock;
  bytes_ = CheckedTimes(layer_block, blocks, kCache);
}

uint64_t KvLayout::ReadBytes(size_t length) const {
  uint64_t bytes = 0;
  for (const Layer& layer : layers_) {
    const size_t seen = layer.window == 0 ? length : std::min(length, layer.window);
    bytes += position_bytes_ * seen;
  }
  return bytes;
}

bool KvLayout::Holds(size_t written, size_t length) const {
  for (const Layer& layer : layers_) {
    const size_t held = layer.blocks * kKeyBlock;
    // Those before written - held are gone; the token sees those from length + 1 - window on.
    if (written > held && written - held + layer.window > length + 1) return false;
  }
  return true;
}

KvCache::KvCache(const KvShape& shape) : KvLayout(shape), type_(shape.type) {
  data_ = ReservePages(bytes_);
  if (!data_) {
    throw Error("out of memory: the cache of " + std::to_string(shape.capacity) + " tokens needs " +
                std::to_string(bytes_ >> 20) + " MiB");
  }
}

KvCache::~KvCache() {
  ReleasePages(data_, bytes_);
}

uint64_t KvCache::EntryBytes() const {
  const KvTypeRow& row = kKvTypes[static_cast<size_t>(type_)];
  return 2 * head_dim_ * row.bytes + (row.has_scales ? 2 * sizeof(float) : 0);
}

// Calls fn(d, place) for each element d of a key, which lies `place` elements into its block's keys;
// those from head_dim on are padding.
template <class Fn>
void KvCache::ForKeyElements(const Fn& fn, size_t position) const {
  const KvTypeRow& row = kKvTypes[static_cast<size_t>(type_)];
  const size_t quanta = (head_dim_ + row.quantum - 1) / row.quantum;
  const size_t index = position % kKeyBlock, lane = index % kKeyLanes;
  for (size_t i = 0; i < quanta; ++i) {
    const size_t place = ((index / kKeyLanes * quanta + i) * kKeyLanes + lane) * row.quantum;
    for (size_t j = 0; j < row.quantum; ++j) fn(i * row.quantum + j, place + j);
  }
}

void KvCache::ReadEntry(size_t layer, size_t head, size_t position, uint8_t* out) const {
  const size_t bytes = kKvTypes[static_cast<size_t>(type_)].bytes, row = head_dim_ * bytes;
  const KvBlock block = Block(layer, head, position / kKeyBlock);
  const size_t index = position % kKeyBlock;
  const auto* keys = static_cast<const uint8_t*>(block.keys);
  const auto read = [&](size_t d, size_t place) {
    if (d < head_dim_) std::memcpy(out + d * bytes, keys + place * bytes, bytes);
  };
  ForKeyElements(read, position);
  std::memcpy(out + row,
              static_cast<const uint8_t*>(block.values) + index * block.value_stride * bytes, row);
  if (!block.key_scales) return;
  std::memcpy(out + 2 * row, block.key_scales + index, sizeof(float));
  std::memcpy(out + 2 * row + sizeof(float), block.value_scales + index, sizeof(float));
}

void KvCache::WriteEntry(size_t layer, size_t head, size_t position, const uint8_t* entry) const {
  const size_t bytes = kKvTypes[static_cast<size_t>(type_)].bytes, row = head_dim_ * bytes;
  const KvBlock block = Block(layer, head, position / kKeyBlock);
  const size_t index = position % kKeyBlock;
  auto* keys = static_cast<uint8_t*>(block.keys);
  const auto write = [&](size_t d, size_t place) {
    if (d < head_dim_) {
      std::memcpy(keys + place * bytes, entry + d * bytes, bytes);
    } else {
      std::memset(keys + place * bytes, 0, bytes);
    }
  };
  ForKeyElements(write, position);
  std::memcpy(static_cast<uint8_t*>(block.values) + index * block.value_stride * bytes, entry + row,
              row);
  if (!block.key_scales) return;
  std::memcpy(block.key_scales + index, entry + 2 * row, sizeof(float));
  std::memcpy(block.value_scales + index, entry + 2 * row + sizeof(float), sizeof(float));
}

KvBlock KvCache::Block(size_t layer, size_t head, size_t block) const {
  const Layer& place = layers_[layer];
  const size_t index = (place.begin + block % place.blocks) * n_heads_ + head;
  uint8_t* const keys = data_ + block_bytes_ * index;
  KvBlock result = {keys, keys + key_bytes_, head_dim_};
  if (scale_bytes_ != 0) {
    result.key_scales = reinterpret_cast<float*>(keys + key_bytes_ + value_bytes_);
    result.value_scales = result.key_scales + kKeyBlock;
  }
  return result;
}

}  // namespace glint
