// How values are written: Python's str() and repr(), and JSON.
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/text/jinja/value.h"
#include "lib/text/python_json.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

// Appends one of Python's escapes: \xNN, \uNNNN, or \UNNNNNNNN.
void AppendEscape(uint32_t value, char letter, int digits, std::string* out) {
  *out += '\\';
  *out += letter;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    *out += "0123456789abcdef"[(value >> shift) & 15];
  }
}

// What repr() shows as it is: all but control characters, separators and what is not assigned.
bool IsPrintable(int32_t c) {
  if (c == ' ') return true;
  const utf8proc_category_t category = utf8proc_category(c);
  return category != UTF8PROC_CATEGORY_CN && category != UTF8PROC_CATEGORY_CC &&
         category != UTF8PROC_CATEGORY_CF && category != UTF8PROC_CATEGORY_CS &&
         category != UTF8PROC_CATEGORY_CO && category != UTF8PROC_CATEGORY_ZS &&
         category != UTF8PROC_CATEGORY_ZL && category != UTF8PROC_CATEGORY_ZP;
}

void AppendTextRepr(std::string_view text, std::string* out) {
  const bool single = text.find('\'') == text.npos || text.find('"') != text.npos;
  const char quote = single ? '\'' : '"';
  *out += quote;
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const auto value = static_cast<uint32_t>(c.value);
    constexpr std::string_view kPlain = "\n\r\t\\";
    const size_t plain = c.bytes == 1 ? kPlain.find(text[0]) : kPlain.npos;
    if (plain != kPlain.npos) {
      (*out += '\\') += "nrt\\"[plain];
    } else if (text[0] == quote) {
      (*out += '\\') += quote;
    } else if (IsPrintable(c.value)) {
      *out += text.substr(0, c.bytes);
    } else if (value < 0x100) {
      AppendEscape(value, 'x', 2, out);
    } else if (value < 0x10000) {
      AppendEscape(value, 'u', 4, out);
    } else {
      AppendEscape(value, 'U', 8, out);
    }
    text.remove_prefix(c.bytes);
  }
  *out += quote;
}

void AppendJsonText(std::string_view text, bool ensure_ascii, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    const auto value = static_cast<uint32_t>(c.value);
    constexpr std::string_view kShort = "\"\\\n\r\t\b\f";
    const size_t at = c.bytes == 1 ? kShort.find(text[0]) : kShort.npos;
    if (at != kShort.npos) {
      (*out += '\\') += "\"\\nrtbf"[at];
    } else if (value < 0x20 || (ensure_ascii && value >= 0x7F && value < 0x10000)) {
      // Python leaves DEL as it is.
      if (value == 0x7F) {
        *out += text[0];
      } else {
        AppendEscape(value, 'u', 4, out);
      }
    } else if (ensure_ascii && value >= 0x10000) {
      AppendEscape(0xD800 + ((value - 0x10000) >> 10), 'u', 4, out);
      AppendEscape(0xDC00 + ((value - 0x10000) & 0x3FF), 'u', 4, out);
    } else {
      *out += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes);
  }
  *out += '"';
}

void AppendItems(Runtime& runtime, const std::vector<Value>& items, std::string* out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) *out += ", ";
    AppendRepr(runtime, items[i], out);
  }
}

// A key of json.dumps: numbers, booleans and None become text.
std::string JsonKey(Runtime& runtime, const Value& key) {
  if (key.Str()) return *key.Str();
  if (!key.IsNumber() && !key.IsNone()) {
    runtime.Fail(std::string("keys of JSON must be str, int, float, bool or None, not ") +
                 key.TypeName());
  }
  std::string text;
  AppendJson(runtime, key, {}, 0, &text);
  return text;
}

// Writes the elements of an object or array, one after another.
class JsonElements {
 public:
  JsonElements(const JsonStyle& style, int level, std::string* out)
      : style_(style), level_(level), out_(out) {}
  void Begin() {
    if (!first_) *out_ += style_.item_separator;
    first_ = false;
    NewLine(level_ + 1);
  }
  void End() {
    if (!first_) NewLine(level_);
  }

 private:
  void NewLine(int level) {
    if (style_.indent < 0) return;
    *out_ += '\n';
    out_->append(static_cast<size_t>(style_.indent) * static_cast<size_t>(level), ' ');
  }

  const JsonStyle& style_;
  int level_;
  std::string* out_;
  bool first_ = true;
};

}  // namespace

// The shortest digits that read back as the same number, as Python lays them out.
std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end.ptr - buffer));
  std::string out;
  if (text[0] == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  const bool plus = text[e + 1] == '+';
  int exponent = 0;
  std::from_chars(text.data() + e + (plus ? 2 : 1), end.ptr, exponent);
  const int n = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (n > 1) (out += '.') += digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const std::string power = std::to_string(std::abs(exponent));
    return out + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  if (n <= exponent + 1) {
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - n), '0') + ".0";
  }
  const auto point = static_cast<size_t>(exponent + 1);
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

void AppendRepr(Runtime& runtime, const Value& value, std::string* out) {
  const size_t before = out->size();
  if (value.Str()) {
    AppendTextRepr(*value.Str(), out);
  } else if (value.IsUndefined()) {
    *out += "Undefined";
  } else if (value.IsNone()) {
    *out += "None";
  } else if (const bool* truth = value.If<bool>()) {
    *out += *truth ? "True" : "False";
  } else if (value.IsInt()) {
    *out += std::to_string(value.Int());
  } else if (value.IsNumber()) {
    *out += FloatText(value.Double());
  } else if (value.Items()) {
    *out += value.IsTuple() ? '(' : '[';
    AppendItems(runtime, *value.Items(), out);
    if (value.IsTuple() && value.Items()->size() == 1) *out += ',';
    *out += value.IsTuple() ? ')' : ']';
  } else if (value.AsDict()) {
    *out += '{';
    for (const auto& [key, item] : value.AsDict()->pairs) {
      if (out->back() != '{' || out->size() - before > 1) *out += ", ";
      AppendRepr(runtime, key, out);
      *out += ": ";
      AppendRepr(runtime, item, out);
    }
    *out += '}';
  } else {
    runtime.Fail(std::string("a ") + value.TypeName() + " cannot be printed");
  }
  runtime.StepBytes(out->size() - before);
  if (out->size() > runtime.limits().memory) runtime.Take(out->size());
}

std::string ToText(Runtime& runtime, const Value& value) {
  if (value.Str()) return *value.Str();
  if (value.IsUndefined()) return "";
  std::string out;
  AppendRepr(runtime, value, &out);
  return out;
}

void AppendJson(Runtime& runtime, const Value& value, const JsonStyle& style, int level,
                std::string* out) {
  runtime.Step();
  const size_t before = out->size();
  if (value.Str()) {
    AppendJsonText(*value.Str(), style.ensure_ascii, out);
  } else if (value.IsNone()) {
    *out += "null";
  } else if (const bool* truth = value.If<bool>()) {
    *out += *truth ? "true" : "false";
  } else if (const double* number = value.If<double>()) {
    *out += std::isnan(*number)   ? "NaN"
            : std::isinf(*number) ? (*number < 0 ? "-Infinity" : "Infinity")
                                  : FloatText(*number);
  } else if (value.IsInt()) {
    *out += std::to_string(value.Int());
  } else if (value.Items()) {
    JsonElements elements(style, level, out);
    *out += '[';
    for (const Value& item : *value.Items()) {
      elements.Begin();
      AppendJson(runtime, item, style, level + 1, out);
    }
    elements.End();
    *out += ']';
  } else if (value.AsDict()) {
    std::vector<std::pair<std::string, const Value*>> members;
    for (const auto& [key, item] : value.AsDict()->pairs) {
      members.emplace_back(JsonKey(runtime, key), &item);
    }
    if (style.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    JsonElements elements(style, level, out);
    *out += '{';
    for (const auto& [key, item] : members) {
      elements.Begin();
      AppendJsonText(key, style.ensure_ascii, out);
      *out += style.key_separator;
      AppendJson(runtime, *item, style, level + 1, out);
    }
    elements.End();
    *out += '}';
  } else {
    runtime.Fail(std::string("Object of type ") + value.TypeName() + " is not JSON serializable");
  }
  runtime.StepBytes(out->size() - before);
  if (out->size() > runtime.limits().memory) runtime.Take(out->size());
}

}  // namespace glint::jinja

namespace glint {

std::string PythonJson(const nlohmann::ordered_json& value, int indent) {
  const JinjaLimits limits;
  const std::string where = "JSON";
  jinja::Runtime runtime(limits, where);
  std::string text;
  jinja::JsonStyle style;
  style.indent = indent;
  if (indent >= 0) style.item_separator = ",";
  jinja::AppendJson(runtime, jinja::FromJson(runtime, value), style, 0, &text);
  return text;
}

}  // namespace glint
