#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

// Where things are in a saved session (docs/FORMAT.md 11), and the byte of options before it.
namespace glint::fuzz {

// Of the first byte of an input: bits 0 and 1 the type of the cache, 2 and 3 the base, then these.
inline constexpr uint8_t kWithAdapter = 1 << 4, kHiddenStates = 1 << 5, kSequenceBefore = 1 << 6,
                         kAsItIs = 1 << 7;  // hashes and checksum are not made right
inline constexpr size_t kKvTypes = 3;

inline constexpr size_t kModelHashAt = 16, kKvTypeAt = 24, kLayersAt = 32, kHeadsAt = 36,
                        kHeadDimAt = 40, kAdaptersAt = 44, kLengthAt = 48, kPromptAt = 56,
                        kLogitsAt = 88, kImageHeadBytes = 96, kAdapterRowBytes = 16,
                        kImageChecksumBytes = 8;

template <class T>
T ImageNumber(const std::string& image, size_t at) {
  T value;
  std::memcpy(&value, image.data() + at, sizeof value);
  return value;
}

template <class T>
void SetImageNumber(std::string* image, size_t at, T value) {
  std::memcpy(image->data() + at, &value, sizeof value);
}

}  // namespace glint::fuzz
