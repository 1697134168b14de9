#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/checked_math.h"

namespace glint {

static_assert(std::endian::native == std::endian::little, "files are read as they lie");

// The cursor through which every parser of binary files reads what a stranger wrote, and the one
// place where counts and lengths are compared with what is there: nothing is read, and nothing may
// be allocated, that was not asked for with Take or Require. Messages: "WHERE: at byte N: ...".
class Reader {
 public:
  // Over bytes in memory, which must outlive the reader. `base` is the place of the first of them
  // in the file, so that messages name true offsets.
  Reader(std::span<const uint8_t> bytes, std::string where, uint64_t base = 0)
      : end_(bytes.size()), base_(base), where_(std::move(where)), window_(bytes) {}

  // Over the first `size` bytes of a file, a window at a time. fill(offset, out, n) reads n bytes
  // at offset, all of them below `size`, or throws. What Take gives is valid until the next call.
  // `limit`: what `size` is, if the file goes on; stands in messages (" of the 256 MiB that ...").
  using Fill = std::function<void(uint64_t offset, void* out, uint64_t n)>;
  Reader(Fill fill, uint64_t size, std::string where, std::string limit = "")
      : end_(size), where_(std::move(where)), limit_(std::move(limit)), fill_(std::move(fill)) {}

  Reader(const Reader&) = delete;

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }
  bool AtEnd() const { return remaining() == 0; }
  const std::string& where() const { return where_; }
  // What messages begin with from now on: the file, and the part of it that is read.
  void SetWhere(std::string where) { where_ = std::move(where); }

  // Fails unless `count` items of at least `item_bytes` (> 0) are left: asked before anything is
  // allocated for them.
  void Require(uint64_t count, uint64_t item_bytes, const char* what) const {
    // Compared with what is left, by division: neither position + count nor a product could wrap.
    if (count > remaining() / item_bytes) FailShort(count, item_bytes, what);
  }

  // The next `n` bytes; `what` names them in the error.
  const uint8_t* Take(uint64_t n, const char* what) {
    Require(n, 1, what);
    if (n > window_end() - position_) MoveWindow(n);
    const uint8_t* taken = window_.data() + static_cast<size_t>(position_ - window_begin_);
    position_ += n;
    return taken;
  }
  std::string_view TakeString(uint64_t n, const char* what) {
    return {reinterpret_cast<const char*>(Take(n, what)), static_cast<size_t>(n)};
  }

  // The next little-endian number.
  template <class T>
  T Read(const char* what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what), sizeof(T));
    return value;
  }
  // The next `n` bytes, copied. For many: the window stays small.
  void ReadBytes(void* out, uint64_t n, const char* what);
  // The next number as protobuf writes it, at most 64 bits.
  uint64_t ReadVarint(const char* what);
  // A length of 64 bits, at most `limit`, and as many bytes.
  std::string ReadString(uint64_t limit, const char* what);

  [[noreturn]] void Fail(const std::string& reason) const;

 private:
  uint64_t window_end() const { return window_begin_ + window_.size(); }
  void MoveWindow(uint64_t n);
  [[noreturn]] void FailShort(uint64_t count, uint64_t item_bytes, const char* what) const;

  uint64_t position_ = 0, end_ = 0;
  uint64_t base_ = 0;
  std::string where_, limit_{};
  std::span<const uint8_t> window_{};  // what is in memory; of bytes in memory: all
  uint64_t window_begin_ = 0;
  Fill fill_{};
  std::vector<uint8_t> buffer_{};  // of the window, with `fill`
};

}  // namespace glint
