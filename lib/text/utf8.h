#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace glint {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// The code point that `text` (not empty) begins with, and its length in bytes; -1 and 1 if the
// bytes there are not UTF-8 (an overlong form, a surrogate, beyond U+10FFFF, or cut short).
struct CodePoint {
  int32_t value;
  uint32_t bytes;
};
CodePoint FirstCodePoint(std::string_view text);

// Bytes that a code point takes if its first byte is `lead`, by its high bits alone: 1 to 4.
inline uint32_t NominalBytes(char lead) {
  constexpr uint8_t kBytes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
  return kBytes[static_cast<uint8_t>(lead) >> 4];
}

bool IsUtf8(std::string_view text);
inline bool IsContinuation(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

// What Python's str.strip() takes away; the published tokenizer and chat rules are Python.
bool IsPythonSpace(int32_t code_point);
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);

}  // namespace glint
