#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "lib/text/jinja.h"

// Values of a template: Python's, as far as templates meet them. Text is UTF-8, counted and cut by
// code points. Lists and dicts do not change once made (transformers' sandbox forbids it too), so
// no value holds itself; only namespaces change, and the interpreter owns them all.
namespace glint::jinja {

// The bounds of one rendering, and where it is. Everything that works or allocates says so here.
class Runtime {
 public:
  Runtime(const JinjaLimits& limits, const std::string& where) : limits_(limits), where_(where) {}

  [[noreturn]] void Fail(const std::string& why) const;
  // Work: a step, or that many bytes of text copied or compared.
  void Step(uint64_t n = 1) {
    steps_ += n;
    if (steps_ > limits_.steps) FailSteps();
  }
  void StepBytes(uint64_t bytes) { Step(1 + bytes / 64); }
  // Looking for `part` bytes in a text of `bytes`, which compares up to all of them at each place.
  void StepSearch(uint64_t bytes, uint64_t part) { StepBytes(bytes * (1 + part / 64)); }
  void Take(uint64_t bytes);
  void Give(uint64_t bytes) noexcept { memory_ -= bytes; }

  const JinjaLimits& limits() const { return limits_; }
  uint32_t line = 0;   // of what runs now
  uint32_t depth = 0;  // of calls within calls

 private:
  [[noreturn]] void FailSteps() const;

  const JinjaLimits& limits_;
  const std::string& where_;
  uint64_t steps_ = 0, memory_ = 0;
};

// Memory that a value holds, given back when the last copy of it goes.
class Charge {
 public:
  Charge(Runtime* runtime, uint64_t bytes) : runtime_(runtime), bytes_(bytes) {
    runtime->Take(bytes);
  }
  ~Charge() { runtime_->Give(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  Runtime* runtime_;
  uint64_t bytes_;
};

class Value;
struct Text;
struct List;
struct Dict;
struct Bound;
struct LoopState;    // interpreter.h
struct Macro;        // interpreter.h
struct Namespace;    // interpreter.h
struct FunctionRow;  // builtins.h
struct MethodRow;    // builtins.h

struct Undefined {
  std::shared_ptr<const Text> why;  // "'x' is undefined"
};
struct None {};

// Nested deeper than this, a value is an error: printing and comparing recurse.
inline constexpr uint32_t kMaxValueDepth = 100;

class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                               std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*,
                               const Macro*, const FunctionRow*, std::shared_ptr<const Bound>,
                               std::shared_ptr<LoopState>>;

  Value() : v_(None()) {}
  template <class T>
  requires(!std::is_same_v<std::decay_t<T>, Value>) Value(T&& value)
      : v_(std::forward<T>(value)) {}  // NOLINT: values come from everywhere

  template <class T>
  const T* If() const {
    return std::get_if<T>(&v_);
  }
  const std::string* Str() const;           // null: no text
  const std::vector<Value>* Items() const;  // of a list or tuple; null: neither
  const Dict* AsDict() const;               // null: no dict

  bool IsUndefined() const { return If<Undefined>() != nullptr; }
  bool IsNone() const { return If<None>() != nullptr; }
  bool IsTuple() const;
  bool IsCallable() const;
  // A whole number, or a bool, which is one.
  bool IsInt() const { return If<int64_t>() || If<bool>(); }
  bool IsNumber() const { return IsInt() || If<double>(); }
  int64_t Int() const;           // of IsInt
  double Double() const;         // of IsNumber
  const char* TypeName() const;  // Python's: 'str', 'dict', ...
  uint32_t Depth() const;

 private:
  Variant v_;
};

using Pairs = std::vector<std::pair<Value, Value>>;

struct Text {
  std::string text;
  Charge charge;
  Text(Runtime* runtime, std::string t)
      : text(std::move(t)), charge(runtime, sizeof(Text) + text.capacity()) {}
};
struct List {
  std::vector<Value> items;
  bool tuple;
  uint32_t depth;
  Charge charge;
  List(Runtime* runtime, std::vector<Value> i, bool is_tuple);
};
struct Dict {
  Pairs pairs;  // in order of insertion; keys differ
  uint32_t depth;
  Charge charge;
  Dict(Runtime* runtime, Pairs p);
};
struct Bound {
  Value self;
  const MethodRow* method;
};

Value MakeText(Runtime& runtime, std::string text);
Value MakeList(Runtime& runtime, std::vector<Value> items, bool tuple = false);
Value MakeDict(Runtime& runtime, Pairs pairs);  // of equal keys the last value counts
Value MakeUndefined(Runtime& runtime, std::string why);
Value FromJson(Runtime& runtime, const nlohmann::ordered_json& json);

// Null if the dict has no such key.
const Value* Find(Runtime& runtime, const Dict& dict, const Value& key);
const Value* Find(const Dict& dict, std::string_view key);

bool Truth(const Value& value);
bool Equal(Runtime& runtime, const Value& a, const Value& b);
bool Less(Runtime& runtime, const Value& a, const Value& b);  // fails where Python does
bool Contains(Runtime& runtime, const Value& container, const Value& item);

// Python's str(), and repr().
std::string ToText(Runtime& runtime, const Value& value);
void AppendRepr(Runtime& runtime, const Value& value, std::string* out);
std::string FloatText(double value);

struct JsonStyle {
  int indent = -1;  // < 0: one line. Else Python separates items by "," alone
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
  bool ensure_ascii = false;
};
void AppendJson(Runtime& runtime, const Value& value, const JsonStyle& style, int level,
                std::string* out);

// Text cut by code points.
int64_t Length(Runtime& runtime, std::string_view text);
std::vector<std::string_view> Characters(Runtime& runtime, std::string_view text);
Value Slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step);
// What a for loop walks over: items, keys, characters; nothing of an undefined value.
std::vector<Value> Iterate(Runtime& runtime, const Value& value);

}  // namespace glint::jinja
