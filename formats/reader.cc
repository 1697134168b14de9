#include "formats/reader.h"

#include <algorithm>

#include "lib/error.h"

namespace glint {
namespace {

constexpr uint64_t kWindowBytes = 64 << 10;

}  // namespace

// Makes the window hold the next n bytes, which are there: Require has said so. Bytes in memory are
// a window that is never moved.
void Reader::MoveWindow(uint64_t n) {
  const uint64_t size = std::min(std::max(n, kWindowBytes), remaining());
  buffer_.resize(static_cast<size_t>(size));
  fill_(position_, buffer_.data(), size);
  window_ = buffer_;
  window_begin_ = position_;
}

void Reader::ReadBytes(void* out, uint64_t n, const char* what) {
  Require(n, 1, what);
  auto* place = static_cast<uint8_t*>(out);
  while (n > 0) {
    const uint64_t piece = std::min(n, kWindowBytes);
    std::memcpy(place, Take(piece, what), static_cast<size_t>(piece));
    place += piece;
    n -= piece;
  }
}

uint64_t Reader::ReadVarint(const char* what) {
  uint64_t value = 0;
  for (uint32_t shift = 0; shift < 64; shift += 7) {
    const uint64_t byte = Read<uint8_t>(what);
    if (shift == 63 && byte > 1) break;  // bits beyond 64
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  Fail(std::string(what) + ": expected a number of at most 64 bits");
}

std::string Reader::ReadString(uint64_t limit, const char* what) {
  const auto bytes = Read<uint64_t>(what);
  Require(bytes, 1, what);
  if (bytes > limit) {
    Fail("expected at most " + std::to_string(limit) + " bytes (" + what + "), got " +
         std::to_string(bytes));
  }
  std::string text(static_cast<size_t>(bytes), '\0');
  ReadBytes(text.data(), bytes, what);
  return text;
}

void Reader::FailShort(uint64_t count, uint64_t item_bytes, const char* what) const {
  Fail("expected " + std::to_string(count) +
       (item_bytes == 1 ? "" : " * " + std::to_string(item_bytes)) + " bytes (" + what +
       "), only " + std::to_string(remaining()) + " bytes are left" + limit_);
}

void Reader::Fail(const std::string& reason) const {
  throw Error(where_ + ": at byte " + std::to_string(base_ + position_) + ": " + reason);
}

}  // namespace glint
