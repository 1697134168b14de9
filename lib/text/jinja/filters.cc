// Filters.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "lib/text/jinja/interpreter.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

using Input = const Value&;

std::string InputText(Interpreter& interpreter, Input input) {
  return ToText(interpreter.runtime(), input);
}

// An attribute path of map, sort, selectattr, ...: "function.name", or the number of an item.
Value Path(Interpreter& interpreter, const Value& value, const Value& path) {
  if (!path.Str()) return interpreter.Item(value, path);
  Value item = value;
  std::string_view rest = *path.Str();
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string name(rest.substr(0, dot));
    int64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool is_number = !name.empty() && parsed.ec == std::errc() &&
                           parsed.ptr == name.data() + name.size() && name[0] != '-';
    Runtime& runtime = interpreter.runtime();
    item = interpreter.Item(item, is_number ? Value(number) : MakeText(runtime, name));
    if (dot == rest.npos) return item;
    rest.remove_prefix(dot + 1);
  }
}

// What sort, unique, min compare: text without regard to case unless asked.
Value SortKey(Interpreter& interpreter, const Value& value, const Value* path, bool case_sensitive) {
  const Value item = path && !path->IsNone() ? Path(interpreter, value, *path) : value;
  if (case_sensitive || !item.Str()) return item;
  return MakeText(interpreter.runtime(), Lower(interpreter.runtime(), *item.Str()));
}

std::vector<size_t> SortedOrder(Interpreter& interpreter, const std::vector<Value>& keys,
                                bool reverse) {
  std::vector<size_t> order(keys.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  // An insertion into the sorted part: keys that do not compare are an error, which std::sort would
  // not survive if they compared inconsistently.
  std::vector<size_t> sorted;
  for (const size_t i : order) {
    const auto after = [&](size_t a, size_t b) {
      return reverse ? Less(interpreter.runtime(), keys[b], keys[a])
                     : Less(interpreter.runtime(), keys[a], keys[b]);
    };
    const auto place = std::upper_bound(sorted.begin(), sorted.end(), i, after);
    interpreter.runtime().Step(1 + static_cast<uint64_t>(sorted.end() - place) / 64);
    sorted.insert(place, i);
  }
  return sorted;
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

Value Join(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const std::string separator = arguments.TakeText("d", "");
  const Value* attribute = arguments.Take("attribute");
  arguments.Done();
  std::string text;
  bool first = true;
  for (const Value& item : Iterate(runtime, input)) {
    if (!first) text += separator;
    first = false;
    text += ToText(runtime, attribute && !attribute->IsNone() ? Path(interpreter, item, *attribute)
                                                              : item);
    if (text.size() > runtime.limits().memory) runtime.Take(text.size());
  }
  return MakeText(runtime, std::move(text));
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

template <bool kLast>
Value End(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  const std::vector<Value> items = Iterate(interpreter.runtime(), input);
  if (items.empty()) return MakeUndefined(interpreter.runtime(), "the sequence is empty");
  return kLast ? items.back() : items.front();
}

Value ToList(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  return MakeList(interpreter.runtime(), Iterate(interpreter.runtime(), input));
}

Value Map(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  std::vector<Value> items;
  const bool by_attribute =
      std::any_of(arguments.keywords.begin(), arguments.keywords.end(),
                  [](const auto& keyword) { return keyword.first == "attribute"; });
  if (by_attribute) {
    if (!arguments.positional.empty()) arguments.Fail("expected an attribute or a filter");
    const Value* path = arguments.Take("attribute");
    const Value* other = arguments.Take("default");
    arguments.Done();
    for (const Value& item : Iterate(runtime, input)) {
      Value value = Path(interpreter, item, *path);
      items.push_back(value.IsUndefined() && other ? *other : std::move(value));
    }
    return MakeList(runtime, std::move(items));
  }
  const std::string name = arguments.RequireText("filter");
  const FilterRow* filter = FindFilter(name);
  if (!filter) arguments.Fail("unknown filter '" + name + "'");
  const Arguments rest = arguments.Rest();
  for (const Value& item : Iterate(runtime, input)) {
    Arguments copy = rest;
    items.push_back(filter->run(interpreter, item, copy));
  }
  return MakeList(runtime, std::move(items));
}

// select, reject, selectattr, rejectattr: the items, or those whose attribute, pass a test.
template <bool kWanted, bool kAttribute>
Value Select(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const DepthGuard depth(&runtime);
  const Value path = kAttribute ? arguments.Require("attribute") : Value();
  const TestRow* test = nullptr;
  if (arguments.n_left() > 0) {
    const std::string name = arguments.RequireText("test");
    test = FindTest(name);
    if (!test) arguments.Fail("unknown test '" + name + "'");
  }
  const Arguments rest = arguments.Rest();
  std::vector<Value> items;
  for (const Value& item : Iterate(runtime, input)) {
    Arguments copy = rest;
    const Value tested = kAttribute ? Path(interpreter, item, path) : item;
    runtime.Step();
    if ((test ? test->run(interpreter, tested, copy) : Truth(tested)) == kWanted) {
      items.push_back(item);
    }
  }
  return MakeList(runtime, std::move(items));
}

Value ItemsOf(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  std::vector<Value> items;
  if (!input.AsDict() && !input.IsUndefined()) arguments.Fail("expected a mapping");
  for (size_t i = 0; input.AsDict() && i < input.AsDict()->pairs.size(); ++i) {
    const auto& [key, value] = input.AsDict()->pairs[i];
    items.push_back(MakeList(interpreter.runtime(), {key, value}, true));
  }
  return MakeList(interpreter.runtime(), std::move(items));
}

Value DictSort(Interpreter& interpreter, Input input, Arguments& arguments) {
  const bool case_sensitive = arguments.TakeBool("case_sensitive", false);
  const std::string by = arguments.TakeText("by", "key");
  const bool reverse = arguments.TakeBool("reverse", false);
  arguments.Done();
  if (!input.AsDict()) arguments.Fail("expected a mapping");
  if (by != "key" && by != "value") arguments.Fail("expected by='key' or 'value'");
  const Pairs& pairs = input.AsDict()->pairs;
  std::vector<Value> keys, items;
  for (const auto& [key, value] : pairs) {
    keys.push_back(SortKey(interpreter, by == "key" ? key : value, nullptr, case_sensitive));
  }
  for (const size_t i : SortedOrder(interpreter, keys, reverse)) {
    items.push_back(MakeList(interpreter.runtime(), {pairs[i].first, pairs[i].second}, true));
  }
  return MakeList(interpreter.runtime(), std::move(items));
}

Value Sort(Interpreter& interpreter, Input input, Arguments& arguments) {
  const bool reverse = arguments.TakeBool("reverse", false);
  const bool case_sensitive = arguments.TakeBool("case_sensitive", false);
  const Value* path = arguments.Take("attribute");
  arguments.Done();
  const std::vector<Value> items = Iterate(interpreter.runtime(), input);
  std::vector<Value> keys, sorted;
  for (const Value& item : items) keys.push_back(SortKey(interpreter, item, path, case_sensitive));
  for (const size_t i : SortedOrder(interpreter, keys, reverse)) sorted.push_back(items[i]);
  return MakeList(interpreter.runtime(), std::move(sorted));
}

Value Unique(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const bool case_sensitive = arguments.TakeBool("case_sensitive", false);
  const Value* path = arguments.Take("attribute");
  arguments.Done();
  std::vector<Value> keys, items;
  for (const Value& item : Iterate(runtime, input)) {
    const Value key = SortKey(interpreter, item, path, case_sensitive);
    const bool seen = std::any_of(keys.begin(), keys.end(),
                                  [&](const Value& other) { return Equal(runtime, key, other); });
    if (seen) continue;
    keys.push_back(key);
    items.push_back(item);
  }
  return MakeList(runtime, std::move(items));
}

template <bool kMost>
Value Extreme(Interpreter& interpreter, Input input, Arguments& arguments) {
  Runtime& runtime = interpreter.runtime();
  const bool case_sensitive = arguments.TakeBool("case_sensitive", false);
  const Value* path = arguments.Take("attribute");
  arguments.Done();
  const std::vector<Value> items = Iterate(runtime, input);
  if (items.empty()) return MakeUndefined(runtime, "the sequence is empty");
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    const Value key = SortKey(interpreter, items[i], path, case_sensitive);
    const Value old = SortKey(interpreter, items[best], path, case_sensitive);
    if (kMost ? Less(runtime, old, key) : Less(runtime, key, old)) best = i;
  }
  return items[best];
}

Value Sum(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value* path = arguments.Take("attribute");
  const Value* start = arguments.Take("start");
  arguments.Done();
  bool whole = true;
  int64_t sum = 0;
  double real = 0;
  const auto add = [&](const Value& value) {
    if (!value.IsNumber()) arguments.Fail(std::string("expected numbers, found ") + value.TypeName());
    whole = whole && value.IsInt();
    real += value.Double();
    if (value.IsInt() && __builtin_add_overflow(sum, value.Int(), &sum)) {
      arguments.Fail("a number beyond 64 bits");
    }
  };
  if (start) add(*start);
  for (const Value& item : Iterate(interpreter.runtime(), input)) {
    add(path && !path->IsNone() ? Path(interpreter, item, *path) : item);
  }
  return whole ? Value(sum) : Value(real);
}

Value ReverseOf(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  Runtime& runtime = interpreter.runtime();
  if (input.Str()) return Slice(runtime, input, None(), None(), int64_t{-1});
  std::vector<Value> items = Iterate(runtime, input);
  std::reverse(items.begin(), items.end());
  return MakeList(runtime, std::move(items));
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
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *number);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() && !text.empty();
}

Value ToInt(Interpreter&, Input input, Arguments& arguments) {
  const Value* other = arguments.Take("default");
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

Value ToFloat(Interpreter&, Input input, Arguments& arguments) {
  const Value* other = arguments.Take("default");
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
    {"dictsort", DictSort},
    {"e", Escape},
    {"escape", Escape},
    {"first", End<false>},
    {"float", ToFloat},
    {"indent", Indent},
    {"int", ToInt},
    {"items", ItemsOf},
    {"join", Join},
    {"last", End<true>},
    {"length", LengthOf},
    {"list", ToList},
    {"lower", ChangeCase<Lower>},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<false, true>},
    {"replace", ReplaceIn},
    {"reverse", ReverseOf},
    {"round", Round},
    {"safe", AsText},
    {"select", Select<true, false>},
    {"selectattr", Select<true, true>},
    {"sort", Sort},
    {"string", AsText},
    {"sum", Sum},
    {"title", TitleWords},
    {"tojson", ToJson},
    {"trim", Trim},
    {"unique", Unique},
    {"upper", ChangeCase<Upper>},
};

}  // namespace

const FilterRow* FindFilter(std::string_view name) {
  for (const FilterRow& row : kFilters) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace glint::jinja
