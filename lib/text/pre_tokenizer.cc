#include "lib/text/pre_tokenizer.h"

#include "lib/error.h"
#include "lib/text/unicode.h"

namespace glint {
namespace {

bool IsSpace(CharClass c) {
  return c == CharClass::kSpace || c == CharClass::kNewline;
}

// Bytes of the run of characters of one class at `at`, at most `limit` characters.
size_t Run(std::string_view text, size_t at, CharClass wanted, size_t limit = SIZE_MAX) {
  const size_t begin = at;
  size_t bytes;
  for (; limit > 0 && at < text.size() && FirstClass(text.substr(at), &bytes) == wanted; --limit) {
    at += bytes;
  }
  return at - begin;
}

// 's 't 're 've 'm 'll 'd at the beginning of `text`, which begins with an apostrophe. Without
// regard to case, the long s is an s.
size_t Contraction(std::string_view text, bool any_case) {
  const auto letter = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = letter(2);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  if (any_case && text.substr(1).starts_with("\xC5\xBF")) return 3;
  return 0;
}

// \s+(?!\S)|\s+ : a run of space, but its last character belongs to what follows.
size_t SpaceRun(std::string_view text) {
  size_t at = 0, last = 0, bytes;
  while (at < text.size() && IsSpace(FirstClass(text.substr(at), &bytes))) {
    last = at;
    at += bytes;
  }
  return at == text.size() || last == 0 ? at : last;
}

size_t Gpt2Word(std::string_view text) {
  if (text[0] == '\'') {
    if (const size_t bytes = Contraction(text, false)) return bytes;
  }
  size_t bytes;
  const size_t space = text[0] == ' ' ? 1 : 0;
  if (space < text.size()) {
    const CharClass c = FirstClass(text.substr(space), &bytes);
    if (!IsSpace(c)) return space + Run(text, space, c);
  }
  return SpaceRun(text);
}

// \s*[\r\n]+ : up to the last line end of a run of space; 0 if it has none.
size_t LineEnds(std::string_view text) {
  size_t end = 0, bytes;
  for (size_t at = 0; at < text.size(); at += bytes) {
    const CharClass c = FirstClass(text.substr(at), &bytes);
    if (!IsSpace(c)) break;
    if (c == CharClass::kNewline) end = at + bytes;
  }
  return end;
}

template <size_t kDigits>
size_t Cl100kWord(std::string_view text) {
  if (text[0] == '\'') {
    if (const size_t bytes = Contraction(text, true)) return bytes;
  }
  size_t bytes, next_bytes;
  const CharClass c = FirstClass(text, &bytes);
  if (c == CharClass::kLetter) return Run(text, 0, c);
  if (c == CharClass::kNumber) return Run(text, 0, c, kDigits);
  // [^\r\n\p{L}\p{N}]?\p{L}+
  const bool more = bytes < text.size();
  const CharClass next = more ? FirstClass(text.substr(bytes), &next_bytes) : CharClass::kSpace;
  if (c != CharClass::kNewline && next == CharClass::kLetter) return bytes + Run(text, bytes, next);
  // ?[^\s\p{L}\p{N}]+[\r\n]* with one space in front
  const size_t space = text[0] == ' ' && next == CharClass::kOther ? 1 : 0;
  if (space == 1 || c == CharClass::kOther) {
    const size_t end = space + Run(text, space, CharClass::kOther);
    return end + Run(text, end, CharClass::kNewline);
  }
  if (const size_t end = LineEnds(text)) return end;
  return SpaceRun(text);
}

constexpr char kGpt2Pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr char kCl100kPattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr char kQwen2Pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

constexpr PreTokenizer kPreTokenizers[] = {
    {"gpt2", kGpt2Pattern, Gpt2Word},
    {"llama3", kCl100kPattern, Cl100kWord<3>},
    {"qwen2", kQwen2Pattern, Cl100kWord<1>},
    {"glm4", kCl100kPattern, Cl100kWord<3>},
};

// Other spellings that mean the same: of tiktoken's r50k_base.
constexpr struct {
  const char* pattern;
  const char* name;
} kSpellings[] = {
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt2"},
};

}  // namespace

const PreTokenizer& FindPreTokenizer(std::string_view name, const std::string& where) {
  std::string known;
  for (const PreTokenizer& row : kPreTokenizers) {
    if (name == row.name) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(where + ": expected a known pre-tokenizer (" + known + "), found " + Quoted(name));
}

const PreTokenizer* FindPattern(std::string_view pattern) {
  for (const PreTokenizer& row : kPreTokenizers) {
    if (pattern == row.pattern) return &row;
  }
  for (const auto& row : kSpellings) {
    if (pattern == row.pattern) return &FindPreTokenizer(row.name, "");
  }
  return nullptr;
}

}  // namespace glint
