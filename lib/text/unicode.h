#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace glint {

// Unicode classes and normal forms, of utf8proc's tables.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace, kNewline };

// \p{L}, \p{N}, \s (White_Space); of the last, CR and LF are kNewline.
CharClass ClassOf(int32_t code_point);
// The class of the code point that valid UTF-8 begins with, and its bytes.
CharClass FirstClass(std::string_view text, size_t* bytes);

bool IsWhiteSpace(int32_t code_point);
bool IsMark(int32_t code_point);           // Mn
bool IsOtherCategory(int32_t code_point);  // Cc, Cf, Cn, Co, Cs
bool IsPunctuation(int32_t code_point);    // Pc to Po

// Appends the canonical composition (NFC) or decomposition (NFD) of valid UTF-8. Takes linear time
// apart from sorting runs of marks.
void AppendNfc(std::string_view text, std::string* out);
void AppendNfd(std::string_view text, std::string* out);
void AppendCodePoint(int32_t code_point, std::string* out);
// The same bytes, with U+FFFD for each longest beginning of a character that does not go on, and
// for each byte that begins none (as Python and the Unicode standard recommend).
void AppendValid(std::string_view text, std::string* out);
// How many bytes at the beginning of `text` (not empty, no code point) one U+FFFD stands for.
// `open`: they may yet become a character if more bytes come.
size_t InvalidBytes(std::string_view text, bool* open);

}  // namespace glint
