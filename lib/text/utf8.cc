#include "lib/text/utf8.h"

#include <utf8proc.h>

namespace glint {

CodePoint FirstCodePoint(std::string_view text) {
  const uint8_t lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return {lead, 1};
  // Four bytes decide; a longer count could overflow the signed length.
  const utf8proc_ssize_t size = text.size() < 4 ? static_cast<utf8proc_ssize_t>(text.size()) : 4;
  utf8proc_int32_t value = -1;
  const utf8proc_ssize_t bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), size, &value);
  if (bytes <= 0) return {-1, 1};
  return {value, static_cast<uint32_t>(bytes)};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    if (c.value < 0) return false;
    text.remove_prefix(c.bytes);
  }
  return true;
}

bool IsPythonSpace(int32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string_view StripLeft(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    if (!IsPythonSpace(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  return text;
}

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && IsContinuation(text[begin])) begin--;
    const CodePoint c = FirstCodePoint(text.substr(begin));
    // Bytes that are no code point of their own are not space.
    if (c.bytes != text.size() - begin || !IsPythonSpace(c.value)) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

}  // namespace glint
