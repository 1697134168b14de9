// Filters of lists and dicts.
#include <algorithm>
#include <charconv>

#include "lib/text/jinja/interpreter.h"

namespace glint::jinja {
namespace {

using Input = const Value&;

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
Value SortKey(Interpreter& interpreter, const Value& value, const Value* path,
              bool case_sensitive) {
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
    text += ToText(runtime,
                   attribute && !attribute->IsNone() ? Path(interpreter, item, *attribute) : item);
    if (text.size() > runtime.limits().memory) runtime.Take(text.size());
  }
  return MakeText(runtime, std::move(text));
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
    if (!value.IsNumber())
      arguments.Fail(std::string("expected numbers, found ") + value.TypeName());
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

constexpr FilterRow kFilters[] = {
    {"dictsort", DictSort},
    {"first", End<false>},
    {"items", ItemsOf},
    {"join", Join},
    {"last", End<true>},
    {"list", ToList},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<false, true>},
    {"reverse", ReverseOf},
    {"select", Select<true, false>},
    {"selectattr", Select<true, true>},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

std::span<const FilterRow> SequenceFilters() {
  return kFilters;
}

}  // namespace glint::jinja
