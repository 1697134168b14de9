// Filters of text, numbers and anything. Those of sequences are in sequence_filters.cc.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "lib/text/jinja/interpreter.h"
#include "lib/text/parse_float.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

using Input = const Value&;

std::string InputText(Interpreter& interpreter, Input input) {
  return ToText(interpreter.runtime(), input);
}

Value Trim(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value* characters = arguments.Take("chars");
  arguments.Done();
  const std::string text = InputText(interpreter, input);
  Runtime& runtime = interpreter.runtime();
  return MakeText(runtime, std::string(Strip(runtime, text, characters, true, true)));
}

Value ToJson(Interpreter& interpreter, Input input, Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.TakeBool("ensure_ascii", false);
  const Value* indent = arguments.Take("indent");
  const Value* separators = arguments.Take("separators");
  style.sort_keys = arguments.TakeBool("sort_keys", false);
  arguments.Done();
  if (indent && !indent->IsNone()) {
    if (!indent->IsInt() || indent->Int() > 100) arguments.Fail("expected an indent up to 100");
    style.indent = static_cast<int>(std::max<int64_t>(indent->Int(), 0));
    style.item_separator = ",";
  }
  if (separators && !separators->IsNone()) {
    const std::vector<Value>* both = separators->Items();
    if (!both || both->size() != 2 || !(*both)[0].Str() || !(*both)[1].Str()) {
      arguments.Fail("expected two separators");
    }
    style.item_separator = *(*both)[0].Str();
    style.key_separator = *(*both)[1].Str();
  }
  std::string text;
  AppendJson(interpreter.runtime(), input, style, 0, &text);
  return MakeText(interpreter.runtime(), std::move(text));
}

Value LengthOf(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  if (input.Str()) return Length(interpreter.runtime(), *input.Str());
  if (input.AsDict()) return static_cast<int64_t>(input.AsDict()->pairs.size());
  if (input.Items()) return static_cast<int64_t>(input.Items()->size());
  if (input.IsUndefined()) return int64_t{0};
  arguments.Fail(std::string("a value of type '") + input.TypeName() + "' has no length");
}

Value Default(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value* other = arguments.Take("default_value");
  const bool boolean = arguments.TakeBool("boolean", false);
  arguments.Done();
  if (!input.IsUndefined() && !(boolean && !Truth(input))) return input;
  return other ? *other : MakeText(interpreter.runtime(), "");
}

template <std::string (*kChange)(Runtime&, std::string_view)>
Value ChangeCase(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  const std::string text = InputText(interpreter, input);
  return MakeText(interpreter.runtime(), kChange(interpreter.runtime(), text));
}

// Unlike str.title(): a word begins after white space, "-" and opening brackets alone.
Value TitleWords(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  Runtime& runtime = interpreter.runtime();
  const std::string text = InputText(interpreter, input);
  std::string out, word;
  const auto flush = [&] {
    out += Capitalize(runtime, word);
    word.clear();
  };
  for (const std::string_view c : Characters(runtime, text)) {
    const bool parts = IsPythonSpace(FirstCodePoint(c).value) ||
                       std::string_view("-({[<").find(c) != std::string_view::npos;
    if (parts) flush();
    (parts ? out : word) += c;
  }
  flush();
  return MakeText(runtime, std::move(out));
}

Value ReplaceIn(Interpreter& interpreter, Input input, Arguments& arguments) {
  const std::string text = InputText(interpreter, input);
  const std::string from = ToText(interpreter.runtime(), arguments.Require("old"));
  const std::string to = ToText(interpreter.runtime(), arguments.Require("new"));
  const Value* count = arguments.Take("count");
  arguments.Done();
  const int64_t most = count && count->IsInt() ? count->Int() : -1;
  return MakeText(interpreter.runtime(), Replace(interpreter.runtime(), text, from, to, most));
}

Value AsText(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  return input.Str() ? input : MakeText(interpreter.runtime(), InputText(interpreter, input));
}

// The number that a whole text is, white space around it aside; false if it is none.
template <class T>
bool ParseNumber(std::string_view text, T* number) {
  text = StripRight(StripLeft(text));
  if (text.starts_with('+')) text.remove_prefix(1);
  std::from_chars_result result;
  if constexpr (std::is_floating_point_v<T>) {
    result = ParseFloat(text.data(), text.data() + text.size(), *number);
  } else {
    result = std::from_chars(text.data(), text.data() + text.size(), *number);
  }
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && !text.empty();
}

Value ToInt(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value* other = arguments.Take("default");
  if (const Undefined* none = input.If<Undefined>()) interpreter.runtime().Fail(none->why->text);
  if (arguments.TakeInt("base", 10) != 10) arguments.Fail("only base 10 is supported");
  arguments.Done();
  int64_t whole = 0;
  double real = 0;
  if (input.IsInt()) return input.Int();
  if (input.Str() && ParseNumber(*input.Str(), &whole)) return whole;
  if (input.IsNumber()) real = input.Double();
  const bool known = input.IsNumber() || (input.Str() && ParseNumber(*input.Str(), &real));
  if (known && std::abs(real) < 9.2e18) return static_cast<int64_t>(real);
  return other ? *other : Value(int64_t{0});
}

Value ToFloat(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value* other = arguments.Take("default");
  if (const Undefined* none = input.If<Undefined>()) interpreter.runtime().Fail(none->why->text);
  arguments.Done();
  double real = 0;
  if (input.IsNumber()) return input.Double();
  if (input.Str() && ParseNumber(*input.Str(), &real)) return real;
  return other ? *other : Value(0.0);
}

Value Round(Interpreter&, Input input, Arguments& arguments) {
  const int64_t precision = arguments.TakeInt("precision", 0);
  const std::string method = arguments.TakeText("method", "common");
  arguments.Done();
  if (!input.IsNumber() || precision < 0 || precision > 15) {
    arguments.Fail("expected a number and a precision of 0 to 15");
  }
  if (method == "common" && input.IsInt()) return input.Int();
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = input.Double() * scale;
  if (method == "ceil") return std::ceil(scaled) / scale;
  if (method == "floor") return std::floor(scaled) / scale;
  if (method != "common") arguments.Fail("unknown method '" + method + "'");
  return std::nearbyint(scaled) / scale;
}

Value Absolute(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  if (!input.IsNumber()) arguments.Fail("expected a number");
  if (!input.IsInt()) return std::abs(input.Double());
  if (input.Int() == INT64_MIN) interpreter.runtime().Fail("a number beyond 64 bits");
  return std::abs(input.Int());
}

// Lines after the first, and that too if asked, begin with `width` spaces or that text.
Value Indent(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const Value* width = arguments.Take("width");
  const bool first = arguments.TakeBool("first", false);
  const bool blank = arguments.TakeBool("blank", false);
  arguments.Done();
  std::string margin(4, ' ');
  if (width && width->Str()) margin = *width->Str();
  if (width && width->IsInt()) {
    if (width->Int() > 1000) arguments.Fail("a width beyond 1000");
    margin.assign(static_cast<size_t>(std::max<int64_t>(width->Int(), 0)), ' ');
  }
  const std::string text = InputText(interpreter, input);
  std::string out;
  bool at_first = true;
  for (std::string_view rest = text;;) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    const bool indented = at_first ? first : blank || !line.empty();
    if (indented) out += margin;
    runtime.StepBytes(margin.size() + line.size());
    out += line;
    if (out.size() > runtime.limits().memory) runtime.Take(out.size());
    if (end == rest.npos) break;
    out += '\n';
    rest.remove_prefix(end + 1);
    at_first = false;
  }
  return MakeText(runtime, std::move(out));
}

Value Escape(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  std::string out;
  for (const char c : InputText(interpreter, input)) {
    out += c == '&'    ? "&amp;"
           : c == '<'  ? "&lt;"
           : c == '>'  ? "&gt;"
           : c == '"'  ? "&#34;"
           : c == '\'' ? "&#39;"
                       : std::string(1, c);
  }
  return MakeText(interpreter.runtime(), std::move(out));
}

Value AttributeOf(Interpreter& interpreter, Input input, Arguments& arguments) {
  const std::string name = arguments.RequireText("name");
  arguments.Done();
  // Unlike a dot, it does not look into a dict.
  if (input.AsDict() && !FindMethod(input, name)) {
    return MakeUndefined(interpreter.runtime(), "'dict object' has no attribute '" + name + "'");
  }
  return interpreter.Attribute(input, name);
}

constexpr FilterRow kFilters[] = {
    {"abs", Absolute},
    {"attr", AttributeOf},
    {"capitalize", ChangeCase<Capitalize>},
    {"count", LengthOf},
    {"d", Default},
    {"default", Default},
    {"e", Escape},
    {"escape", Escape},
    {"float", ToFloat},
    {"indent", Indent},
    {"int", ToInt},
    {"length", LengthOf},
    {"lower", ChangeCase<Lower>},
    {"replace", ReplaceIn},
    {"round", Round},
    {"safe", AsText},
    {"string", AsText},
    {"title", TitleWords},
    {"tojson", ToJson},
    {"trim", Trim},
    {"upper", ChangeCase<Upper>},
};

}  // namespace

const FilterRow* FindFilter(std::string_view name) {
  for (const std::span<const FilterRow> rows :
       {std::span<const FilterRow>(kFilters), SequenceFilters()}) {
    for (const FilterRow& row : rows) {
      if (name == row.name) return &row;
    }
  }
  return nullptr;
}

}  // namespace glint::jinja
