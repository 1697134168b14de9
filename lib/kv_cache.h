#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "simd/kernels.h"

namespace glint {

// What a cache is to hold.
struct KvShape {
  size_t n_layers = 0, n_heads = 0, head_dim = 0;  // heads of keys and values
  size_t capacity = 0;                             // positions of the sequence
  KvType type = KvType::kF16;
  // Of each layer: how many positions a token sees, itself among them; 0, or no such entry: all.
  std::vector<size_t> windows{};
  size_t run = 1;  // positions that are stored at most before the first of their tokens looks
};

// Where a cache has what, and how much memory that is; reserves nothing. A layer is a row of blocks
// of kKeyBlock positions: all of the sequence, or, where fewer do, a ring: position p lies where p
// modulo its length does, so that p takes the place of p - length. A run of `run` tokens stores p,
// p + 1, ..., p + run - 1 before the token at p sees those from p + 1 - window on: window - 1 + run
// positions, rounded up to whole blocks, are enough. So a sequence may always go back by up to
// `run` positions.
class KvLayout {
 public:
  explicit KvLayout(const KvShape& shape);  // throws Error for sizes beyond 64 bits

  uint64_t bytes() const { return bytes_; }                    // when full
  uint64_t position_bytes() const { return position_bytes_; }  // of a position, in one layer
  size_t capacity() const { return capacity_; }                // rounded up to whole blocks
  // Bytes that the attentions of a token read when it is the last of `length`.
  uint64_t ReadBytes(size_t length) const;
  // Whether a token at cache index `length` finds all that it sees, positions up to `written`
  // having been stored.
  bool Holds(size_t written, size_t length) const;

 protected:
  struct Layer {
    size_t begin, blocks, window;  // blocks before it, and its own
  };
  std::vector<Layer> layers_;
  size_t n_heads_, head_dim_, capacity_;
  uint64_t key_bytes_, value_bytes_, scale_bytes_;  // of one KvBlock
  uint64_t block_bytes_, position_bytes_, bytes_;
};

// Keys and values of one sequence: (n_layers, blocks, n_kv_heads) times a KvBlock of kKeyBlock
// positions, its keys, values and scales one after another (simd/kernels.h). The memory is reserved
// at once, in huge pages where the system has them: a token reads all of it. It becomes resident as
// positions are stored, a block of each layer at a time, which is why all heads of a block lie
// together.
class KvCache : public KvLayout {
 public:
  explicit KvCache(const KvShape& shape);  // throws Error if there is no memory
  KvCache(size_t n_layers, size_t n_kv_heads, size_t head_dim, size_t capacity, KvType type)
      : KvCache(KvShape{n_layers, n_kv_heads, head_dim, capacity, type}) {}
  ~KvCache();
  KvCache(const KvCache&) = delete;

  // Of positions [block * kKeyBlock, (block + 1) * kKeyBlock).
  KvBlock Block(size_t layer, size_t head, size_t block) const;
  KvType type() const { return type_; }

  // What one head of a layer holds of one position, as an image of a session has it (docs/FORMAT.md 11):
  // its key, its value (head_dim elements each), and of int8 their scales (f32).
  uint64_t EntryBytes() const;
  void ReadEntry(size_t layer, size_t head, size_t position, uint8_t* out) const;
  void WriteEntry(size_t layer, size_t head, size_t position, const uint8_t* entry) const;

 private:
  template <class Fn>
  void ForKeyElements(const Fn& fn, size_t position) const;

  KvType type_;
  uint8_t* data_ = nullptr;
};

const char* Name(KvType type);  // "f32", "f16", "int8"
bool ParseKvType(std::string_view name, KvType* type);

}  // namespace glint
