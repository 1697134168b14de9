#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace glint {

// 64-bit XXH3 with seed 0, fed a piece at a time. Finds damage, not malice: it is no signature.
class Checksum {
 public:
  Checksum();
  void Update(const void* data, uint64_t size);
  uint64_t Digest() const;

 private:
  alignas(64) unsigned char state_[576];  // XXH3_state_t, so that the library stays in one file
};

uint64_t ChecksumOf(const void* data, uint64_t size);

// As the header writes it: 16 lower-case hexadecimal digits, most significant first.
std::string ChecksumText(uint64_t checksum);
bool ParseChecksum(std::string_view text, uint64_t* checksum);

}  // namespace glint
