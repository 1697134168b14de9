#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "simd/kernels.h"

namespace glint {

// Keys and values of one sequence: (n_layers, blocks, n_kv_heads) times a KvBlock of kKeyBlock
// positions, its keys, values and scales one after another (simd/kernels.h). capacity is rounded up to
// whole blocks. The memory is reserved at once, in huge pages where the system has them: a token
// reads all of it. It becomes resident as positions are stored, a block of each layer at a time, which
// is why all heads of a block lie together.
class KvCache {
 public:
  KvCache(size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t capacity, KvType type);
  ~KvCache();
  KvCache(const KvCache&) = delete;

  // Of positions [block * kKeyBlock, (block + 1) * kKeyBlock).
  KvBlock Block(size_t layer, size_t head, size_t block) const;
  KvType type() const { return type_; }
  size_t capacity() const { return capacity_; }
  uint64_t bytes() const { return bytes_; }  // when full

 private:
  size_t n_heads_, head_dim_, capacity_;
  KvType type_;
  uint64_t key_bytes_, value_bytes_, scale_bytes_;  // of one KvBlock
  uint64_t block_bytes_;                            // all of it
  uint64_t bytes_;
  uint8_t* data_ = nullptr;
};

const char* Name(KvType type);  // "f32", "f16", "int8"
bool ParseKvType(std::string_view name, KvType* type);

}  // namespace glint
