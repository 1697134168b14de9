#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/checksum.h"
#include "formats/prefix.h"

namespace glint::fuzz {

// The checksum of a .glint file's head made right, since changed bytes would not pass it. If the
// file's last byte is odd it stays as it is.
inline void MendGlintChecksum(std::string* file) {
  uint64_t header = 0;
  if (file->size() < kPrefixBytes || file->back() % 2 != 0) return;
  std::memcpy(&header, file->data() + 16, sizeof header);
  if (header > file->size() - kPrefixBytes) return;
  const uint64_t head = RoundUp(kPrefixBytes + header, kDataAlignment);
  if (head > file->size()) return;
  std::memset(file->data() + kChecksumAt, 0, sizeof(uint64_t));
  const uint64_t checksum = ChecksumOf(file->data(), head);
  std::memcpy(file->data() + kChecksumAt, &checksum, sizeof checksum);
}

}  // namespace glint::fuzz
