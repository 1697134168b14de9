#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "simd/kernels.h"

namespace glint {

// Keys and values of one sequence, for every layer and head:
//   keys   (n_layers, n_kv_heads, capacity / 16, head_dim, 16)   16 positions interleaved
//   values (n_layers, n_kv_heads, capacity, head_dim)
// int8 keys hold quads of columns, (n_layers, n_kv_heads, capacity / 16, head_dim / 4, 16, 4), head_dim
// padded to a multiple of 4; and each head has 2 * capacity f32 scales, of keys and of values. A head's
// keys, values and scales lie together. capacity is rounded up to a whole key block. The memory is
// reserved at once, and becomes resident page by page as positions are stored; up to 512
// MiB in huge pages where the system has them.
class KvCache {
 public:
  KvCache(size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t capacity, KvType type);
  ~KvCache();
  KvCache(const KvCache&) = delete;

  KvHead Head(size_t layer, size_t head) const;
  KvType type() const { return type_; }
  size_t capacity() const { return capacity_; }
  uint64_t bytes() const { return bytes_; }  // when full

 private:
  size_t n_heads_, head_dim_, capacity_;
  KvType type_;
  uint64_t key_bytes_, value_bytes_, scale_bytes_, head_bytes_;  // of one head; all of it
  uint64_t bytes_;
  uint8_t* data_ = nullptr;
};

const char* Name(KvType type);  // "f32", "f16", "int8"
bool ParseKvType(std::string_view name, KvType* type);

}  // namespace glint
