#include "formats/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <new>

namespace glint {

Checksum::Checksum() {
  static_assert(sizeof(state_) >= sizeof(XXH3_state_t) && alignof(XXH3_state_t) <= 64);
  XXH3_64bits_reset(new (state_) XXH3_state_t);
}

void Checksum::Update(const void* data, uint64_t size) {
  XXH3_64bits_update(std::launder(reinterpret_cast<XXH3_state_t*>(state_)), data, size);
}

uint64_t Checksum::Digest() const {
  return XXH3_64bits_digest(std::launder(reinterpret_cast<const XXH3_state_t*>(state_)));
}

uint64_t ChecksumOf(const void* data, uint64_t size) {
  return XXH3_64bits(data, size);
}

std::string ChecksumText(uint64_t checksum) {
  static const char kHex[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[i] = kHex[checksum >> (60 - 4 * i) & 15];
  return text;
}

bool ParseChecksum(std::string_view text, uint64_t* checksum) {
  if (text.size() != 16) return false;
  *checksum = 0;
  for (const char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && !(c >= 'a' && c <= 'f')) return false;
    *checksum = *checksum << 4 | static_cast<uint64_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return true;
}

}  // namespace glint
