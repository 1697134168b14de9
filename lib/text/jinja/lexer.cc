#include "lib/text/jinja/lexer.h"

#include <charconv>

#include "lib/error.h"
#include "lib/escaped.h"
#include "lib/text/parse_float.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

using Kind = Token::Kind;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool IsNamePart(char c) {
  return IsNameStart(c) || IsDigit(c);
}

// Every kind of newline becomes \n, and one at the very end goes.
std::string Normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& where)
      : where_(where), source_(Normalized(source)) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) ReadData();
    Push(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(const std::string& why) const {
    throw Error(where_ + ": line " + std::to_string(line_) + ": " + Escaped(why));
  }
  std::string_view Rest() const { return std::string_view(source_).substr(at_); }
  bool Skip(std::string_view text) {
    if (!Rest().starts_with(text)) return false;
    Advance(text.size());
    return true;
  }
  void Advance(size_t bytes) {
    for (const char c : Rest().substr(0, bytes)) line_ += c == '\n';
    at_ += bytes;
  }
  void SkipSpace() {
    const std::string_view rest = Rest();
    Advance(rest.size() - StripLeft(rest).size());
  }
  Token& Push(Kind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text)});
    return tokens_.back();
  }

  // After the closing bracket of a tag or comment: "-" before it eats the space that follows, else
  // one newline goes, unless a "+" says no. Jinja2 asks whether the bracket with what was eaten
  // ended a line: then white space in front of the next tag goes too.
  bool Close(std::string_view bracket, bool trim) {
    const size_t begin = at_;
    if (Rest().starts_with('-') && Rest().substr(1).starts_with(bracket)) {
      Advance(1 + bracket.size());
      SkipSpace();
    } else if (trim && Rest().starts_with('+') && Rest().substr(1).starts_with(bracket)) {
      Advance(1 + bracket.size());
    } else if (Skip(bracket)) {
      if (trim) Skip("\n");
    } else {
      return false;
    }
    line_starting_ = at_ > begin && source_[at_ - 1] == '\n';
    return true;
  }

  // Text up to the next tag, and the tag.
  void ReadData() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 == source_.size()) {
        tag = source_.npos;
        break;
      }
      const char next = source_[tag + 1];
      if (next == '{' || next == '%' || next == '#') break;
    }
    std::string_view text = Rest().substr(0, tag == source_.npos ? tag : tag - at_);
    if (tag == source_.npos) {
      PushData(text);
      Advance(text.size());
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : 0;
    PushData(Stripped(text, kind, sign));
    Advance(text.size() + 2);
    line_starting_ = false;
    if (sign == '-' || sign == '+') Advance(1);
    if (kind == '#') return SkipComment();
    if (kind == '%' && ReadRaw()) return;
    ReadTag(kind == '{');
  }

  void PushData(std::string_view text) {
    if (!text.empty()) Push(Kind::kData, text);
  }

  // Text in front of a tag: "-" takes the white space at its end, and lstrip_blocks that between
  // the line's beginning and a tag that is no output.
  std::string_view Stripped(std::string_view text, char kind, char sign) const {
    if (sign == '-') return StripRight(text);
    if (sign == '+' || kind == '{') return text;
    const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
    if (line == 0 && !line_starting_) return text;
    return StripLeft(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  void SkipComment() {
    for (; at_ < source_.size(); Advance(1)) {
      if (Close("#}", true)) return;
    }
    Fail("a comment does not end");
  }

  // {% raw %}, whose contents are text. False if the tag is another one.
  bool ReadRaw() {
    const size_t begin = at_;
    const uint32_t line = line_;
    SkipSpace();
    if (!Skip("raw") || (SkipSpace(), !Close("%}", false))) {
      at_ = begin;
      line_ = line;
      line_starting_ = false;
      return false;
    }
    const size_t content = at_;
    const uint32_t content_line = line_;
    for (size_t end = content; (end = source_.find("{%", end)) != source_.npos; ++end) {
      at_ = end + 2;
      const char sign = at_ < source_.size() ? source_[at_] : 0;
      if (sign == '-' || sign == '+') ++at_;
      SkipSpace();
      if (!Skip("endraw") || (SkipSpace(), !Close("%}", true))) continue;
      const std::string_view text = std::string_view(source_).substr(content, end - content);
      const bool starting = line_starting_;
      line_starting_ = false;
      PushData(Stripped(text, '%', sign));
      line_starting_ = starting;
      line_ = content_line;
      for (const char c : std::string_view(source_).substr(content, at_ - content)) {
        line_ += c == '\n';
      }
      return true;
    }
    Fail("{% raw %} does not end");
  }

  void ReadTag(bool output) {
    Push(output ? Kind::kBeginOutput : Kind::kBeginTag, "");
    const std::string_view end = output ? "}}" : "%}";
    std::string open;  // brackets
    for (;;) {
      SkipSpace();
      if (at_ == source_.size()) Fail(output ? "{{ does not end" : "{% does not end");
      if (open.empty() && Close(end, !output)) break;
      ReadToken(&open);
    }
    Push(output ? Kind::kEndOutput : Kind::kEndTag, "");
  }

  void ReadToken(std::string* open) {
    const char c = source_[at_];
    if (IsDigit(c)) return ReadNumber();
    if (c == '\'' || c == '"') return ReadString(c);
    if (IsNameStart(c)) {
      size_t n = 1;
      while (n < Rest().size() && IsNamePart(Rest()[n])) ++n;
      Push(Kind::kName, Rest().substr(0, n));
      return Advance(n);
    }
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                               "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ","};
    for (const std::string_view op : kOperators) {
      if (!Rest().starts_with(op)) continue;
      if (c == '(' || c == '[' || c == '{') *open += c == '(' ? ')' : c == '[' ? ']' : '}';
      if (c == ')' || c == ']' || c == '}') {
        if (open->empty() || open->back() != c) Fail(std::string("unexpected '") + c + "'");
        open->pop_back();
      }
      Push(Kind::kOperator, op);
      return Advance(op.size());
    }
    Fail("unexpected character " + Quoted(Rest().substr(0, FirstCodePoint(Rest()).bytes)));
  }

  // Decimal digits, with single underscores among them; false if there is none.
  bool ReadDigits(std::string* digits) {
    const size_t begin = at_;
    while (at_ < source_.size()) {
      const bool underscore = source_[at_] == '_' && at_ > begin && at_ + 1 < source_.size() &&
                              IsDigit(source_[at_ + 1]);
      if (!IsDigit(source_[at_]) && !underscore) break;
      if (!underscore) *digits += source_[at_];
      ++at_;
    }
    return at_ > begin;
  }

  void ReadNumber() {
    std::string digits;
    ReadDigits(&digits);
    bool real = false;
    const auto part = [&](size_t skip, std::string prefix) {
      const size_t back = at_;
      at_ += skip;
      if (at_ < source_.size() && ReadDigits(&prefix)) {
        digits += prefix;
        real = true;
      } else {
        at_ = back;
      }
    };
    // A number after a dot is an item's: a.0.1 has no fraction.
    const bool item =
        !tokens_.empty() && tokens_.back().kind == Kind::kOperator && tokens_.back().text == ".";
    if (!item && Rest().starts_with('.')) part(1, ".");
    if (!item && (Rest().starts_with('e') || Rest().starts_with('E'))) {
      const bool sign = Rest().size() > 1 && (Rest()[1] == '+' || Rest()[1] == '-');
      part(sign ? 2 : 1, sign ? std::string("e") + Rest()[1] : "e");
    }
    Token& token = Push(real ? Kind::kFloat : Kind::kInt, digits);
    const char *begin = digits.data(), *end = begin + digits.size();
    const auto result = real ? ParseFloat(begin, end, token.number)
                             : std::from_chars(begin, end, token.integer);
    const bool octal_like = !real && digits.size() > 1 && digits[0] == '0' &&
                            digits.find_first_not_of('0') != digits.npos;
    if (result.ec != std::errc() || octal_like ||
        (at_ < source_.size() && IsNamePart(source_[at_]))) {
      Fail("expected a decimal number within 64 bits, found " + Quoted(digits));
    }
  }

  void ReadString(char quote) {
    const size_t begin = at_ + 1;
    size_t end = begin;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) Fail("a string does not end");
    Push(Kind::kString, Unescaped(std::string_view(source_).substr(begin, end - begin)));
    Advance(end + 1 - at_);
  }

  // Python's unicode-escape. What it does not know keeps its backslash.
  std::string Unescaped(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kLetters = "abfnrtv\\'\"\n";
      constexpr std::string_view kMeaning = "\a\b\f\n\r\t\v\\'\"";
      const size_t letter = kLetters.find(c);
      if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        AppendUtf8(Number(text.substr(i + 1), digits, 16), &out);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        size_t digits = 1;
        while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' &&
               text[i + digits] <= '7') {
          ++digits;
        }
        AppendUtf8(Number(text.substr(i), digits, 8), &out);
        i += digits - 1;
      } else if (c == 'N') {
        Fail("strings with \\N are not supported");
      } else if (letter == kLetters.npos) {
        (out += '\\') += c;
      } else if (c != '\n') {
        out += kMeaning[letter];
      }
    }
    return out;
  }

  uint32_t Number(std::string_view text, size_t digits, int base) const {
    uint32_t value = 0;
    const char* end = text.data() + std::min(digits, text.size());
    const auto result = std::from_chars(text.data(), end, value, base);
    const bool scalar = value < 0xD800 || (value > 0xDFFF && value <= 0x10FFFF);
    if (text.size() < digits || result.ptr != end || result.ec != std::errc() || !scalar) {
      Fail("a string has an escape that is no character");
    }
    return value;
  }

  static void AppendUtf8(uint32_t c, std::string* out) {
    const auto add = [&](uint32_t byte) { *out += static_cast<char>(byte); };
    if (c < 0x80) return add(c);
    if (c >= 0x10000) add(0xF0 | c >> 18);
    if (c >= 0x10000) add(0x80 | (c >> 12 & 63));
    if (c >= 0x800 && c < 0x10000) add(0xE0 | c >> 12);
    if (c >= 0x800) add(0x80 | (c >> 6 & 63));
    if (c < 0x800) add(0xC0 | c >> 6);
    add(0x80 | (c & 63));
  }

  const std::string& where_;
  std::string source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source, const std::string& where) {
  return Lexer(source, where).Run();
}

}  // namespace glint::jinja
