#include "lib/error.h"

#include <cstdint>

#include "lib/escaped.h"

namespace glint {
namespace {

constexpr size_t kMaxQuotedBytes = 200;

// Length of the UTF-8 sequence at the start of `text`, 0 if it is not valid; *code gets the code
// point. Overlong forms, surrogates and values above U+10FFFF are not valid.
size_t DecodeUtf8(std::string_view text, uint32_t* code) {
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 0 || length > text.size()) return 0;
  *code = length == 1 ? first : first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const uint8_t next = static_cast<uint8_t>(text[i]);
    if ((next & 0xC0) != 0x80) return 0;
    *code = *code << 6 | (next & 0x3F);
  }
  if (length == 3 && (*code < 0x800 || (*code >= 0xD800 && *code < 0xE000))) return 0;
  if (length == 4 && (*code < 0x10000 || *code > 0x10FFFF)) return 0;
  return length;
}

// Whether a terminal or a log might act on the character instead of showing it: control characters,
// line and paragraph separators, and the marks that reverse the direction of what follows.
bool IsUnsafe(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || (code >= 0x200E && code <= 0x200F) ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string Escaped(std::string_view text, size_t limit) {
  static const char kHex[] = "0123456789abcdef";
  std::string out;
  size_t i = 0;
  while (i < text.size()) {
    uint32_t code = 0;
    const size_t length = DecodeUtf8(text.substr(i), &code);
    const size_t step = length == 0 ? 1 : length;
    if (i + step > limit) break;
    if (length != 0 && !IsUnsafe(code)) {
      out.append(text.substr(i, step));
    } else {
      for (const char c : text.substr(i, step)) {
        const uint8_t byte = static_cast<uint8_t>(c);
        const char escaped[] = {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
        out.append(escaped, sizeof escaped);
      }
    }
    i += step;
  }
  if (i < text.size()) out.append(3, '.');
  return out;
}

std::string Quoted(std::string_view text) {
  std::string out = "'" + Escaped(text, kMaxQuotedBytes);
  // The dots of a text that was cut stand behind the quote.
  const bool is_cut = text.size() > kMaxQuotedBytes;
  return out.insert(out.size() - (is_cut ? 3 : 0), 1, '\'');
}

}  // namespace glint
