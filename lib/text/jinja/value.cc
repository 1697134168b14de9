#include "lib/text/jinja/value.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/escaped.h"
#include "lib/text/jinja/interpreter.h"
#include "lib/text/utf8.h"

namespace glint::jinja {
namespace {

using Json = nlohmann::ordered_json;

// Depth of what holds these values. Fails rather than let anything recurse without end.
uint32_t DepthOver(Runtime* runtime, uint32_t deepest) {
  if (deepest + 1 > kMaxValueDepth) {
    runtime->Fail("values nested deeper than " + std::to_string(kMaxValueDepth) + " levels");
  }
  return deepest + 1;
}

uint32_t Deepest(const std::vector<Value>& items) {
  uint32_t depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.Depth());
  return depth;
}

uint32_t Deepest(const Pairs& pairs) {
  uint32_t depth = 0;
  for (const auto& [key, value] : pairs) depth = std::max({depth, key.Depth(), value.Depth()});
  return depth;
}

std::string ValidUtf8(std::string_view text) {
  if (IsUtf8(text)) return std::string(text);
  std::string out;
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    out += c.value < 0 ? kReplacement : text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
  }
  return out;
}

Value FromJsonAt(Runtime& runtime, const Json& json, uint32_t level) {
  runtime.Step();
  DepthOver(&runtime, level);
  switch (json.type()) {
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) runtime.Fail("a number beyond 64 bits");
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return MakeText(runtime, ValidUtf8(json.get_ref<const std::string&>()));
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(FromJsonAt(runtime, item, level + 1));
      return MakeList(runtime, std::move(items));
    }
    case Json::value_t::object: {
      Pairs pairs;
      for (const auto& [key, value] : json.items()) {
        pairs.emplace_back(MakeText(runtime, ValidUtf8(key)),
                           FromJsonAt(runtime, value, level + 1));
      }
      return MakeDict(runtime, std::move(pairs));
    }
    default:
      return None();
  }
}

}  // namespace

void Runtime::Fail(const std::string& why) const {
  // It may hold names of the template and, of an exception, its own words.
  throw Error(where_ + ": line " + std::to_string(line) + ": " + Escaped(why));
}

void Runtime::FailSteps() const {
  Fail("the template needs more than " + std::to_string(limits_.steps) + " steps");
}

void Runtime::Take(uint64_t bytes) {
  if (bytes > limits_.memory || memory_ > limits_.memory - bytes) {
    Fail("the template needs more than " + std::to_string(limits_.memory) + " bytes of memory");
  }
  memory_ += bytes;
}

const std::string* Value::Str() const {
  const auto* text = If<std::shared_ptr<const Text>>();
  return text ? &(*text)->text : nullptr;
}

const std::vector<Value>* Value::Items() const {
  const auto* list = If<std::shared_ptr<const List>>();
  return list ? &(*list)->items : nullptr;
}

const Dict* Value::AsDict() const {
  const auto* dict = If<std::shared_ptr<const Dict>>();
  return dict ? dict->get() : nullptr;
}

bool Value::IsTuple() const {
  const auto* list = If<std::shared_ptr<const List>>();
  return list && (*list)->tuple;
}

bool Value::IsCallable() const {
  return If<const Macro*>() || If<const FunctionRow*>() || If<std::shared_ptr<const Bound>>();
}

int64_t Value::Int() const {
  return If<bool>() ? *If<bool>() : *If<int64_t>();
}

double Value::Double() const {
  return If<double>() ? *If<double>() : static_cast<double>(Int());
}

const char* Value::TypeName() const {
  static constexpr const char* kNames[] = {
      "Undefined", "NoneType",  "bool",  "int",      "float",  "str",        "list",
      "dict",      "Namespace", "Macro", "function", "method", "LoopContext"};
  return IsTuple() ? "tuple" : kNames[v_.index()];
}

uint32_t Value::Depth() const {
  if (const auto* list = If<std::shared_ptr<const List>>()) return (*list)->depth;
  if (const auto* bound = If<std::shared_ptr<const Bound>>()) return (*bound)->self.Depth() + 1;
  return AsDict() ? AsDict()->depth : 0;
}

List::List(Runtime* runtime, std::vector<Value> i, bool is_tuple)
    : items(std::move(i)),
      tuple(is_tuple),
      depth(DepthOver(runtime, Deepest(items))),
      charge(runtime, sizeof(List) + items.capacity() * sizeof(Value)) {
  runtime->Step(items.size());
}

Dict::Dict(Runtime* runtime, Pairs p)
    : pairs(std::move(p)),
      depth(DepthOver(runtime, Deepest(pairs))),
      charge(runtime, sizeof(Dict) + pairs.capacity() * sizeof(pairs[0])) {}

Value MakeText(Runtime& runtime, std::string text) {
  runtime.StepBytes(text.size());
  return std::make_shared<const Text>(&runtime, std::move(text));
}

Value MakeList(Runtime& runtime, std::vector<Value> items, bool tuple) {
  return std::make_shared<const List>(&runtime, std::move(items), tuple);
}

Value MakeDict(Runtime& runtime, Pairs pairs) {
  Pairs unique;
  for (auto& [key, value] : pairs) {
    const bool hashable = key.Str() || key.IsNumber() || key.IsNone() || key.IsTuple();
    if (!hashable) runtime.Fail(std::string("unhashable type: '") + key.TypeName() + "'");
    runtime.Step(1 + unique.size() / 8);
    const auto same = std::find_if(unique.begin(), unique.end(), [&, &k = key](const auto& pair) {
      return Equal(runtime, pair.first, k);
    });
    if (same == unique.end()) {
      unique.emplace_back(std::move(key), std::move(value));
    } else {
      same->second = std::move(value);
    }
  }
  return std::make_shared<const Dict>(&runtime, std::move(unique));
}

Value MakeUndefined(Runtime& runtime, std::string why) {
  return Undefined{std::make_shared<const Text>(&runtime, std::move(why))};
}

Value FromJson(Runtime& runtime, const Json& json) {
  return FromJsonAt(runtime, json, 0);
}

const Value* Find(Runtime& runtime, const Dict& dict, const Value& key) {
  for (const auto& [name, value] : dict.pairs) {
    if (Equal(runtime, name, key)) return &value;
  }
  return nullptr;
}

const Value* Find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict.pairs) {
    if (name.Str() && *name.Str() == key) return &value;
  }
  return nullptr;
}

bool Truth(const Value& value) {
  if (value.IsUndefined() || value.IsNone()) return false;
  if (value.IsNumber()) return value.Double() != 0;
  if (value.Str()) return !value.Str()->empty();
  if (value.Items()) return !value.Items()->empty();
  if (value.AsDict()) return !value.AsDict()->pairs.empty();
  return true;
}

bool Equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Step();
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInt() && b.IsInt() ? a.Int() == b.Int() : a.Double() == b.Double();
  }
  if (a.Str() && b.Str()) {
    runtime.StepBytes(std::min(a.Str()->size(), b.Str()->size()));
    return *a.Str() == *b.Str();
  }
  if (a.Items() && b.Items()) {
    if (a.IsTuple() != b.IsTuple() || a.Items()->size() != b.Items()->size()) return false;
    return std::equal(a.Items()->begin(), a.Items()->end(), b.Items()->begin(),
                      [&](const Value& x, const Value& y) { return Equal(runtime, x, y); });
  }
  if (a.AsDict() && b.AsDict()) {
    const Pairs& pairs = a.AsDict()->pairs;
    return pairs.size() == b.AsDict()->pairs.size() &&
           std::all_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
             const Value* other = Find(runtime, *b.AsDict(), pair.first);
             return other && Equal(runtime, pair.second, *other);
           });
  }
  if (a.IsUndefined() || a.IsNone()) {
    return a.IsUndefined() == b.IsUndefined() && a.IsNone() == b.IsNone();
  }
  const auto same = [&]<class T>(const T*) {
    return a.If<T>() && b.If<T>() && *a.If<T>() == *b.If<T>();
  };
  return same(static_cast<Namespace* const*>(nullptr)) ||
         same(static_cast<const Macro* const*>(nullptr)) ||
         same(static_cast<const FunctionRow* const*>(nullptr));
}

bool Less(Runtime& runtime, const Value& a, const Value& b) {
  runtime.Step();
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInt() && b.IsInt() ? a.Int() < b.Int() : a.Double() < b.Double();
  }
  if (a.Str() && b.Str()) {
    runtime.StepBytes(std::min(a.Str()->size(), b.Str()->size()));
    return *a.Str() < *b.Str();  // the order of code points is that of UTF-8's bytes
  }
  if (a.Items() && b.Items() && a.IsTuple() == b.IsTuple()) {
    const std::vector<Value>&x = *a.Items(), &y = *b.Items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!Equal(runtime, x[i], y[i])) return Less(runtime, x[i], y[i]);
    }
    return x.size() < y.size();
  }
  runtime.Fail(std::string("'<' not supported between '") + a.TypeName() + "' and '" +
               b.TypeName() + "'");
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.Str()) {
    if (!item.Str()) {
      runtime.Fail(std::string("'in <string>' requires a string, not '") + item.TypeName() + "'");
    }
    runtime.StepSearch(container.Str()->size(), item.Str()->size());
    return container.Str()->find(*item.Str()) != std::string::npos;
  }
  if (container.AsDict()) return Find(runtime, *container.AsDict(), item) != nullptr;
  if (container.IsUndefined()) return false;
  if (!container.Items()) {
    runtime.Fail(std::string("argument of type '") + container.TypeName() + "' is not iterable");
  }
  return std::any_of(container.Items()->begin(), container.Items()->end(),
                     [&](const Value& other) { return Equal(runtime, other, item); });
}

int64_t Length(Runtime& runtime, std::string_view text) {
  runtime.StepBytes(text.size());
  return std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); });
}

std::vector<std::string_view> Characters(Runtime& runtime, std::string_view text) {
  // A view takes 16 bytes for each of a text's.
  const Charge charge(&runtime, text.size() * sizeof(std::string_view));
  std::vector<std::string_view> characters;
  characters.reserve(text.size());
  runtime.Step(text.size());
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    characters.push_back(text.substr(0, c.bytes));
    text.remove_prefix(c.bytes);
  }
  return characters;
}

namespace {

// Python's slice.indices: the numbers of the items that a slice takes.
std::vector<size_t> SliceIndices(Runtime& runtime, int64_t size, const Value& start,
                                 const Value& stop, const Value& step) {
  const auto number = [&](const Value& value, int64_t other) {
    if (value.IsNone()) return other;
    if (!value.IsInt()) runtime.Fail("slice indices must be integers or none");
    return value.Int();
  };
  const int64_t by = number(step, 1);
  if (by == 0) runtime.Fail("slice step cannot be zero");
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? size - 1 : size;
  const auto place = [&](const Value& value, int64_t other) {
    int64_t at = number(value, other);
    if (value.IsNone()) return at;
    if (at < 0) at = at < -size ? low : at + size;
    return std::clamp(at, low, high);
  };
  const int64_t from = place(start, by < 0 ? high : 0), to = place(stop, by < 0 ? -1 : size);
  std::vector<size_t> indices;
  for (int64_t i = from; by < 0 ? i > to : i < to;) {
    indices.push_back(static_cast<size_t>(i));
    if (by < 0 ? by < to - i : by > to - i) break;  // the next one is beyond, and must not wrap
    i += by;
  }
  runtime.Step(indices.size());
  return indices;
}

}  // namespace

Value Slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  if (value.Str()) {
    const auto characters = Characters(runtime, *value.Str());
    std::string text;
    const auto size = static_cast<int64_t>(characters.size());
    for (const size_t i : SliceIndices(runtime, size, start, stop, step)) text += characters[i];
    return MakeText(runtime, std::move(text));
  }
  if (!value.Items()) {
    runtime.Fail(std::string("'") + value.TypeName() + "' cannot be sliced");
  }
  std::vector<Value> items;
  const auto size = static_cast<int64_t>(value.Items()->size());
  for (const size_t i : SliceIndices(runtime, size, start, stop, step)) {
    items.push_back((*value.Items())[i]);
  }
  return MakeList(runtime, std::move(items), value.IsTuple());
}

std::vector<Value> Iterate(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (value.Items()) {
    items = *value.Items();
  } else if (value.AsDict()) {
    for (const auto& pair : value.AsDict()->pairs) items.push_back(pair.first);
  } else if (value.Str()) {
    for (const std::string_view c : Characters(runtime, *value.Str())) {
      items.push_back(MakeText(runtime, std::string(c)));
    }
  } else if (!value.IsUndefined()) {
    runtime.Fail(std::string("'") + value.TypeName() + "' object is not iterable");
  }
  runtime.Step(items.size());
  return items;
}

}  // namespace glint::jinja
