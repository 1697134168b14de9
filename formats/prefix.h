#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace glint {

// What a .glint file begins with (docs/FORMAT.md 2), all integers little-endian:
//   magic [8] | u32 version | u32 reserved | u64 header bytes | u64 checksum | header | zeros |
//   data
// The part before the data is called the head.
inline constexpr std::string_view kMagic("\x89GLINT\r\n", 8);
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kPrefixBytes = 32;      // all before the header
inline constexpr uint64_t kChecksumAt = 24;       // where the checksum of the head lies
inline constexpr uint64_t kDataAlignment = 4096;  // the head is padded to a multiple of it
inline constexpr uint64_t kTensorAlignment = 64;  // of each tensor, and of the file's end
inline constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;

// `value` rounded up to a multiple of `unit`, a power of two. value must be below 2^63.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) & ~(unit - 1);
}

// The head of a file whose header is `text`.
std::string HeadBytes(std::string_view text);

// Checks the first kPrefixBytes of a file of `file_bytes` (all of it, if it is shorter) and returns
// the size of the head, which the file has. `path` begins each message. Throws Error.
uint64_t CheckPrefix(std::string_view prefix, uint64_t file_bytes, const std::string& path);

// The checksum that a head says it has.
uint64_t StoredChecksum(std::string_view head);

// Checks checksum and padding of a head whose prefix has been checked; returns the header's text in
// it.
std::string_view CheckHead(std::string_view head, const std::string& path);

}  // namespace glint
