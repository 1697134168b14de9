// Methods of text and dicts, and what filters share with them.
#include <utf8proc.h>

#include <algorithm>

#include "lib/text/jinja/builtins.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

using Text = const std::string&;

void AppendCodePoint(int32_t c, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
  out->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
}

int32_t UpperOf(int32_t c) {
  return utf8proc_toupper(c);
}
int32_t LowerOf(int32_t c) {
  return utf8proc_tolower(c);
}
// Has two cases, or is one.
bool IsCased(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

// The text with each code point through what `change(code point, index)` appends.
template <class Change>
std::string Changed(Runtime& runtime, std::string_view text, const Change& change) {
  runtime.Step(1 + text.size() / 8);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; !text.empty(); ++i) {
    const CodePoint c = FirstCodePoint(text);
    change(c.value, i, &out);
    text.remove_prefix(c.bytes);
  }
  return out;
}

void AppendUpper(int32_t c, std::string* out) {
  if (c == 0xDF) {
    *out += "SS";  // the one letter of common text whose capital is two
  } else {
    AppendCodePoint(UpperOf(c), out);
  }
}

}  // namespace

std::string Upper(Runtime& runtime, std::string_view text) {
  return Changed(runtime, text, [](int32_t c, size_t, std::string* out) { AppendUpper(c, out); });
}

std::string Lower(Runtime& runtime, std::string_view text) {
  return Changed(runtime, text,
                 [](int32_t c, size_t, std::string* out) { AppendCodePoint(LowerOf(c), out); });
}

std::string Capitalize(Runtime& runtime, std::string_view text) {
  return Changed(runtime, text, [](int32_t c, size_t i, std::string* out) {
    AppendCodePoint(i == 0 ? UpperOf(c) : LowerOf(c), out);
  });
}

std::string Replace(Runtime& runtime, std::string_view text, std::string_view from,
                    std::string_view to, int64_t count) {
  const uint64_t most = count < 0 ? UINT64_MAX : static_cast<uint64_t>(count);
  runtime.StepSearch(text.size(), from.size());
  uint64_t n = 0;
  if (from.empty()) {
    n = std::min<uint64_t>(most, static_cast<uint64_t>(Length(runtime, text)) + 1);
  } else {
    for (size_t at = 0; n < most && (at = text.find(from, at)) != text.npos; at += from.size()) ++n;
  }
  if (to.size() != 0 && n > runtime.limits().memory / to.size()) runtime.Take(UINT64_MAX);
  runtime.StepBytes(n * to.size());
  std::string out;
  for (; n > 0; --n) {
    const size_t at = from.empty() ? 0 : text.find(from);
    (out += text.substr(0, at)) += to;
    text.remove_prefix(at + from.size());
    if (!from.empty() || text.empty()) continue;
    const CodePoint c = FirstCodePoint(text);
    out += text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return out += text;
}

std::string_view Strip(Runtime& runtime, std::string_view text, const Value* characters, bool left,
                       bool right) {
  runtime.StepBytes(text.size());
  if (!characters || characters->IsNone()) {
    if (left) text = StripLeft(text);
    return right ? StripRight(text) : text;
  }
  if (!characters->Str()) runtime.Fail("strip(): expected text");
  const std::vector<std::string_view> set = Characters(runtime, *characters->Str());
  const auto has = [&](std::string_view c) {
    runtime.Step(1 + set.size() / 16);
    return std::find(set.begin(), set.end(), c) != set.end();
  };
  while (left && !text.empty()) {
    const std::string_view c = text.substr(0, FirstCodePoint(text).bytes);
    if (!has(c)) break;
    text.remove_prefix(c.size());
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    if (!has(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

namespace {

template <bool kLeft, bool kRight>
Value StripText(Runtime& runtime, const Value& self, Arguments& arguments) {
  const Value* characters = arguments.Take("chars");
  arguments.Done();
  return MakeText(runtime, std::string(Strip(runtime, *self.Str(), characters, kLeft, kRight)));
}

// Words between white space; the last of `most` cuts keeps the rest as it is.
std::vector<std::string_view> SplitSpace(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string_view> parts;
  text = from_right ? StripRight(text) : StripLeft(text);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
      parts.push_back(text);
      break;
    }
    size_t at = from_right ? text.size() : 0;
    while (from_right ? at > 0 : at < text.size()) {
      size_t next = at;
      if (from_right) {
        do --next;
        while (next > 0 && IsContinuation(text[next]));
      }
      const CodePoint c = FirstCodePoint(text.substr(from_right ? next : at));
      if (IsPythonSpace(c.value)) break;
      at = from_right ? next : at + c.bytes;
    }
    parts.push_back(from_right ? text.substr(at) : text.substr(0, at));
    text = from_right ? StripRight(text.substr(0, at)) : StripLeft(text.substr(at));
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool kFromRight>
Value Split(Runtime& runtime, const Value& self, Arguments& arguments) {
  const Value* separator = arguments.Take("sep");
  int64_t most = arguments.TakeInt("maxsplit", -1);
  arguments.Done();
  std::string_view text = *self.Str();
  runtime.StepBytes(text.size());
  std::vector<std::string_view> parts;
  if (!separator || separator->IsNone()) {
    parts = SplitSpace(text, most, kFromRight);
  } else {
    if (!separator->Str() || separator->Str()->empty()) arguments.Fail("expected a separator");
    const std::string& sep = *separator->Str();
    runtime.StepSearch(text.size(), sep.size());
    for (; most != 0; --most) {
      const size_t at = kFromRight ? text.rfind(sep) : text.find(sep);
      if (at == text.npos) break;
      runtime.Step();
      parts.push_back(kFromRight ? text.substr(at + sep.size()) : text.substr(0, at));
      text = kFromRight ? text.substr(0, at) : text.substr(at + sep.size());
    }
    parts.push_back(text);
    if (kFromRight) std::reverse(parts.begin(), parts.end());
  }
  std::vector<Value> items;
  for (const std::string_view part : parts) items.push_back(MakeText(runtime, std::string(part)));
  return MakeList(runtime, std::move(items));
}

Value SplitLines(Runtime& runtime, const Value& self, Arguments& arguments) {
  const bool keep = arguments.TakeBool("keepends", false);
  arguments.Done();
  std::vector<Value> items;
  std::string_view text = *self.Str();
  while (!text.empty()) {
    size_t at = text.find_first_of("\n\r");
    const size_t end = at == text.npos                       ? text.size()
                       : text.substr(at).starts_with("\r\n") ? at + 2
                                                             : at + 1;
    at = std::min(at, text.size());
    items.push_back(MakeText(runtime, std::string(text.substr(0, keep ? end : at))));
    text.remove_prefix(end);
  }
  return MakeList(runtime, std::move(items));
}

template <bool kEnd>
Value Begins(Runtime& runtime, const Value& self, Arguments& arguments) {
  const Value& affix = arguments.Require("prefix");
  arguments.Done();
  const auto fits = [&](const Value& one) {
    if (!one.Str()) arguments.Fail(std::string("expected text, found ") + one.TypeName());
    runtime.StepBytes(one.Str()->size());
    return kEnd ? self.Str()->ends_with(*one.Str()) : self.Str()->starts_with(*one.Str());
  };
  if (!affix.IsTuple()) return fits(affix);
  return std::any_of(affix.Items()->begin(), affix.Items()->end(), fits);
}

template <bool kEnd>
Value RemoveAffix(Runtime& runtime, const Value& self, Arguments& arguments) {
  const std::string& affix = arguments.RequireText("prefix");
  arguments.Done();
  std::string_view text = *self.Str();
  if (kEnd && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!kEnd && text.starts_with(affix)) text.remove_prefix(affix.size());
  return MakeText(runtime, std::string(text));
}

Value ReplaceText(Runtime& runtime, const Value& self, Arguments& arguments) {
  const std::string& from = arguments.RequireText("old");
  const std::string& to = arguments.RequireText("new");
  const int64_t count = arguments.TakeInt("count", -1);
  arguments.Done();
  return MakeText(runtime, Replace(runtime, *self.Str(), from, to, count));
}

template <std::string (*kChange)(Runtime&, std::string_view)>
Value ChangeCase(Runtime& runtime, const Value& self, Arguments& arguments) {
  arguments.Done();
  return MakeText(runtime, kChange(runtime, *self.Str()));
}

// str.title: a letter after a letter is small, any other a capital.
std::string Title(Runtime& runtime, std::string_view text) {
  bool after = false;
  return Changed(runtime, text, [&](int32_t c, size_t, std::string* out) {
    AppendCodePoint(after ? LowerOf(c) : UpperOf(c), out);
    after = IsCased(c);
  });
}

Value JoinText(Runtime& runtime, const Value& self, Arguments& arguments) {
  const std::vector<Value> items = Iterate(runtime, arguments.Require("iterable"));
  arguments.Done();
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].Str()) arguments.Fail(std::string("expected text, found ") + items[i].TypeName());
    if (i > 0) text += *self.Str();
    text += *items[i].Str();
    if (text.size() > runtime.limits().memory) runtime.Take(text.size());
  }
  return MakeText(runtime, std::move(text));
}

template <bool kLast>
Value FindText(Runtime& runtime, const Value& self, Arguments& arguments) {
  const std::string& part = arguments.RequireText("sub");
  arguments.Done();
  const std::string& text = *self.Str();
  runtime.StepSearch(text.size(), part.size());
  const size_t at = kLast ? text.rfind(part) : text.find(part);
  return at == text.npos ? int64_t{-1} : Length(runtime, std::string_view(text).substr(0, at));
}

Value CountText(Runtime& runtime, const Value& self, Arguments& arguments) {
  const std::string& part = arguments.RequireText("sub");
  arguments.Done();
  if (part.empty()) return Length(runtime, *self.Str()) + 1;
  runtime.StepSearch(self.Str()->size(), part.size());
  int64_t n = 0;
  for (size_t at = 0; (at = self.Str()->find(part, at)) != std::string::npos; at += part.size())
    ++n;
  return n;
}

bool IsLetter(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(int32_t c) {
  return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}
bool IsLetterOrDigit(int32_t c) {
  return IsLetter(c) || IsDecimal(c);
}

template <bool (*kIs)(int32_t)>
Value AllAre(Runtime& runtime, const Value& self, Arguments& arguments) {
  arguments.Done();
  bool all = !self.Str()->empty();
  for (const std::string_view c : Characters(runtime, *self.Str())) {
    all = all && kIs(FirstCodePoint(c).value);
  }
  return all;
}

// isupper, islower: some letter has a case, and all that have are of this one.
template <int32_t (*kCase)(int32_t)>
Value IsOfCase(Runtime& runtime, const Value& self, Arguments& arguments) {
  arguments.Done();
  bool some = false;
  for (const std::string_view text : Characters(runtime, *self.Str())) {
    const int32_t c = FirstCodePoint(text).value;
    if (!IsCased(c)) continue;
    if (kCase(c) != c) return false;
    some = true;
  }
  return some;
}

template <bool kKeys, bool kValues>
Value DictItems(Runtime& runtime, const Value& self, Arguments& arguments) {
  arguments.Done();
  std::vector<Value> items;
  for (const auto& [key, value] : self.AsDict()->pairs) {
    items.push_back(kKeys && kValues ? MakeList(runtime, {key, value}, true) : kKeys ? key : value);
  }
  return MakeList(runtime, std::move(items));
}

Value DictGet(Runtime& runtime, const Value& self, Arguments& arguments) {
  const Value& key = arguments.Require("key");
  const Value* other = arguments.Take("default");
  arguments.Done();
  const Value* value = Find(runtime, *self.AsDict(), key);
  return value ? *value : other ? *other : Value();
}

Value DictCopy(Runtime&, const Value& self, Arguments& arguments) {
  arguments.Done();
  return self;
}

// Rows without a function are Python's but not ours.
constexpr MethodRow kMethods[] = {
    {"strip", true, StripText<true, true>},
    {"lstrip", true, StripText<true, false>},
    {"rstrip", true, StripText<false, true>},
    {"split", true, Split<false>},
    {"rsplit", true, Split<true>},
    {"splitlines", true, SplitLines},
    {"startswith", true, Begins<false>},
    {"endswith", true, Begins<true>},
    {"removeprefix", true, RemoveAffix<false>},
    {"removesuffix", true, RemoveAffix<true>},
    {"replace", true, ReplaceText},
    {"upper", true, ChangeCase<Upper>},
    {"lower", true, ChangeCase<Lower>},
    {"capitalize", true, ChangeCase<Capitalize>},
    {"title", true, ChangeCase<Title>},
    {"join", true, JoinText},
    {"find", true, FindText<false>},
    {"rfind", true, FindText<true>},
    {"count", true, CountText},
    {"isalpha", true, AllAre<IsLetter>},
    {"isdigit", true, AllAre<IsDecimal>},
    {"isalnum", true, AllAre<IsLetterOrDigit>},
    {"isspace", true, AllAre<IsPythonSpace>},
    {"isupper", true, IsOfCase<UpperOf>},
    {"islower", true, IsOfCase<LowerOf>},
    {"items", false, DictItems<true, true>},
    {"keys", false, DictItems<true, false>},
    {"values", false, DictItems<false, true>},
    {"get", false, DictGet},
    {"copy", false, DictCopy},
};
constexpr std::string_view kOtherTextMethods[] = {
    "casefold",   "center",   "encode",    "expandtabs",   "format",    "format_map",
    "index",      "isascii",  "isdecimal", "isidentifier", "isnumeric", "isprintable",
    "istitle",    "ljust",    "maketrans", "partition",    "rindex",    "rjust",
    "rpartition", "swapcase", "translate", "zfill"};
constexpr std::string_view kOtherDictMethods[] = {"clear",   "fromkeys",   "pop",
                                                  "popitem", "setdefault", "update"};
constexpr std::string_view kOtherListMethods[] = {"append", "clear",   "copy",   "count",
                                                  "extend", "index",   "insert", "pop",
                                                  "remove", "reverse", "sort"};

}  // namespace

const MethodRow* FindMethod(const Value& self, std::string_view name) {
  static constexpr MethodRow kNone = {"", true, nullptr};
  if (!self.Str() && !self.AsDict() && !self.Items()) return nullptr;
  for (const MethodRow& row : kMethods) {
    if (name == row.name && (row.of_text ? self.Str() != nullptr : self.AsDict() != nullptr)) {
      return &row;
    }
  }
  const auto has = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  const bool other = self.Str()      ? has(kOtherTextMethods)
                     : self.AsDict() ? has(kOtherDictMethods)
                                     : has(kOtherListMethods);
  return other ? &kNone : nullptr;
}

}  // namespace glint::jinja
