#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lib/error.h"

namespace glint {

static_assert(std::endian::native == std::endian::little, "files are read as they lie");

// False if the result does not fit.
[[nodiscard]] inline bool CheckedMul(uint64_t a, uint64_t b, uint64_t* product) {
  return !__builtin_mul_overflow(a, b, product);
}
[[nodiscard]] inline bool CheckedAdd(uint64_t a, uint64_t b, uint64_t* sum) {
  return !__builtin_add_overflow(a, b, sum);
}

// The cursor through which every parser of this folder reads bytes of a stranger: no access without
// Take's comparison. `where` (file and part of it) begins each message, `base` is the place of the
// first byte in that part, so that messages name true offsets. Owns nothing.
class ByteReader {
 public:
  ByteReader(std::span<const uint8_t> bytes, std::string where, uint64_t base = 0)
      : bytes_(bytes), where_(std::move(where)), base_(base) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  bool AtEnd() const { return remaining() == 0; }
  const std::string& where() const { return where_; }

  // The next `n` bytes; `what` names them in the error.
  const uint8_t* Take(uint64_t n, const char* what) {
    // Written as a comparison with what is left: position + n could wrap.
    if (n > remaining()) {
      Fail(std::string("expected ") + std::to_string(n) + " bytes (" + what + "), only " +
           std::to_string(remaining()) + " are left");
    }
    const uint8_t* taken = bytes_.data() + position_;
    position_ += static_cast<size_t>(n);
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

  [[noreturn]] void Fail(const std::string& reason) const {
    throw Error(where_ + ": at byte " + std::to_string(base_ + position_) + ": " + reason);
  }

 private:
  std::span<const uint8_t> bytes_;
  std::string where_;
  uint64_t base_;
  size_t position_ = 0;
};

}  // namespace glint
