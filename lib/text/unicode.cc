#include "lib/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lib/text/utf8.h"

namespace glint {
namespace {

uint32_t ByteAt(std::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

// What FirstCodePoint gives for valid UTF-8, without its checks.
CodePoint DecodeValid(std::string_view text) {
  const uint32_t lead = ByteAt(text, 0);
  if (lead < 0x80) return {static_cast<int32_t>(lead), 1};
  const uint32_t bytes = NominalBytes(text[0]);
  if (bytes > text.size()) return {-1, 1};
  uint32_t value = lead & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) value = value << 6 | (ByteAt(text, i) & 0x3F);
  return {static_cast<int32_t>(value), bytes};
}

// Whether text begins with a character of three bytes whose lead alone says that it is valid, as
// those of most scripts of Asia.
bool IsPlainTriple(std::string_view text) {
  const uint32_t lead = ByteAt(text, 0);
  return lead >= 0xE1 && lead <= 0xEC && text.size() >= 3 && IsContinuation(text[1]) &&
         IsContinuation(text[2]);
}

CharClass Classify(int32_t c) {
  if (c == '\r' || c == '\n') return CharClass::kNewline;
  if (IsWhiteSpace(c)) return CharClass::kSpace;
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

const std::array<CharClass, 128>& AsciiClasses() {
  static const std::array<CharClass, 128> classes = [] {
    std::array<CharClass, 128> table;
    for (int32_t c = 0; c < 128; ++c) table[static_cast<size_t>(c)] = Classify(c);
    return table;
  }();
  return classes;
}

// Ranges of starters that are their own composition, so that a text of them alone is.
constexpr struct {
  int32_t first, last;
} kComposed[] = {{0x0000, 0x02FF}, {0x0400, 0x0482}, {0x048A, 0x052F}, {0x2010, 0x2027},
                 {0x2030, 0x205E}, {0x3001, 0x3029}, {0x3041, 0x3096}, {0x30A1, 0x30FF},
                 {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3}, {0xFF00, 0xFFEF}, {0x1F300, 0x1F6FF}};

bool IsComposed(int32_t c) {
  if (c >= 0x4E00 && c <= 0x9FFF) return true;
  return std::any_of(std::begin(kComposed), std::end(kComposed),
                     [c](const auto& range) { return c >= range.first && c <= range.last; });
}

void Decompose(std::string_view text, std::vector<utf8proc_int32_t>* out) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  std::array<utf8proc_int32_t, 32> parts;  // a canonical decomposition has at most 4
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    text.remove_prefix(c.bytes);
    const utf8proc_ssize_t n = utf8proc_decompose_char(
        c.value, parts.data(), static_cast<utf8proc_ssize_t>(parts.size()), kOptions, nullptr);
    if (n < 1 || n > static_cast<utf8proc_ssize_t>(parts.size())) {
      out->push_back(c.value);
    } else {
      out->insert(out->end(), parts.begin(), parts.begin() + n);
    }
  }
  const auto combining = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  for (auto at = out->begin(); at != out->end();) {
    at = std::find_if(at, out->end(), [&](utf8proc_int32_t c) { return combining(c) != 0; });
    const auto end =
        std::find_if(at, out->end(), [&](utf8proc_int32_t c) { return combining(c) == 0; });
    std::stable_sort(at, end, [&](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining(a) < combining(b);
    });
    at = end;
  }
}

}  // namespace

bool IsWhiteSpace(int32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return IsPythonSpace(c);  // beyond ASCII they agree
}

CharClass ClassOf(int32_t c) {
  return c >= 0 && c < 128 ? AsciiClasses()[static_cast<size_t>(c)] : Classify(c);
}

CharClass FirstClass(std::string_view text, size_t* bytes) {
  const CodePoint c = DecodeValid(text);
  *bytes = c.bytes;
  if (c.value >= 0x4E00 && c.value <= 0x9FEF) return CharClass::kLetter;  // CJK ideographs
  return ClassOf(c.value);
}

bool IsMark(int32_t c) {
  return utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

bool IsOtherCategory(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CN ||
         (category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO);
}

bool IsPunctuation(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

void AppendCodePoint(int32_t c, std::string* out) {
  std::array<utf8proc_uint8_t, 4> bytes;
  const utf8proc_ssize_t n = utf8proc_encode_char(c, bytes.data());
  out->append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(n));
}

void AppendNfd(std::string_view text, std::string* out) {
  std::vector<utf8proc_int32_t> points;
  Decompose(text, &points);
  for (const utf8proc_int32_t c : points) AppendCodePoint(c, out);
}

// Only what stands between two characters that nothing changes is taken apart, along with the first
// of them, which marks may join.
void AppendNfc(std::string_view text, std::string* out) {
  std::vector<utf8proc_int32_t> points;
  size_t copied = 0, last = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = DecodeValid(text.substr(at));
    if (c.value < 0x300 || IsComposed(c.value)) {
      last = at;
      at += c.bytes;
      continue;
    }
    size_t end = at + c.bytes;
    while (end < text.size()) {
      const CodePoint next = FirstCodePoint(text.substr(end));
      if (IsComposed(next.value)) break;
      end += next.bytes;
    }
    *out += text.substr(copied, last - copied);
    points.clear();
    Decompose(text.substr(last, end - last), &points);
    const utf8proc_ssize_t n = utf8proc_normalize_utf32(
        points.data(), static_cast<utf8proc_ssize_t>(points.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    points.resize(static_cast<size_t>(std::max<utf8proc_ssize_t>(n, 0)));
    for (const utf8proc_int32_t p : points) AppendCodePoint(p, out);
    at = copied = last = end;
  }
  *out += text.substr(copied);
}

size_t InvalidBytes(std::string_view text, bool* open) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  *open = false;
  if (lead < 0xC2 || lead > 0xF4) return 1;
  const size_t nominal = NominalBytes(text[0]);
  // The second byte has narrower bounds after some leads: no overlong form, surrogate, U+110000.
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  size_t n = 1;
  while (n < nominal && n < text.size() &&
         (n == 1 ? byte(n) >= low && byte(n) <= high : IsContinuation(text[n]))) {
    n++;
  }
  *open = n == text.size() && n < nominal;
  return n;
}

void AppendValid(std::string_view text, std::string* out) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    if (ByteAt(text, at) < 0x80) {
      at++;
      continue;
    }
    const std::string_view rest = text.substr(at);
    if (IsPlainTriple(rest)) {
      at += 3;
      continue;
    }
    const CodePoint c = FirstCodePoint(rest);
    if (c.value >= 0) {
      at += c.bytes;
      continue;
    }
    *out += text.substr(begin, at - begin);
    *out += kReplacement;
    bool open;
    at += InvalidBytes(rest, &open);
    begin = at;
  }
  *out += text.substr(begin);
}

}  // namespace glint
