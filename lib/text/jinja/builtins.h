#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/jinja/value.h"

// Filters, tests, functions and methods: tables of rows.
namespace glint::jinja {

class Interpreter;

// The arguments of a call. A builtin takes them in the order of its parameters and then calls Done.
class Arguments {
 public:
  Arguments(Runtime* runtime, std::string_view callee) : runtime_(runtime), callee_(callee) {}

  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;

  // The next argument, or the one with this name; null if the call has neither.
  const Value* Take(std::string_view name);
  const Value* TakeNamed(std::string_view name);  // never one by its place
  // The same, of a type; fails with the callee's name.
  const Value& Require(std::string_view name);
  const std::string& RequireText(std::string_view name);
  int64_t TakeInt(std::string_view name, int64_t other);
  bool TakeBool(std::string_view name, bool other);
  std::string TakeText(std::string_view name, const std::string& other);
  size_t n_left() const { return positional.size() - at_ + keywords.size() - n_used_; }
  // Fails if an argument is left: one that is not known must not be ignored.
  void Done() const;
  // What is not taken yet, for a call of something else.
  Arguments Rest();

  [[noreturn]] void Fail(const std::string& why) const;
  Runtime& runtime() const { return *runtime_; }

 private:
  Runtime* runtime_;
  std::string callee_;
  size_t at_ = 0, n_used_ = 0;
};

struct FilterRow {
  const char* name;
  Value (*run)(Interpreter& interpreter, const Value& input, Arguments& arguments);
};
struct TestRow {
  const char* name;
  bool (*run)(Interpreter& interpreter, const Value& input, Arguments& arguments);
};
struct FunctionRow {
  const char* name;
  Value (*run)(Interpreter& interpreter, Arguments& arguments);
};
struct MethodRow {
  const char* name;
  bool of_text;  // else of a dict
  Value (*run)(Runtime& runtime, const Value& self, Arguments& arguments);
};

// Null if there is none.
const FilterRow* FindFilter(std::string_view name);
std::span<const FilterRow> SequenceFilters();  // a part of them
const TestRow* FindTest(std::string_view name);
const FunctionRow* FindFunction(std::string_view name);
const MethodRow* FindMethod(const Value& self, std::string_view name);

// Shared by filters and methods.
std::string Upper(Runtime& runtime, std::string_view text);
std::string Lower(Runtime& runtime, std::string_view text);
std::string Capitalize(Runtime& runtime, std::string_view text);
std::string Replace(Runtime& runtime, std::string_view text, std::string_view from,
                    std::string_view to, int64_t count);
// Without `characters` at either end; null: without white space.
std::string_view Strip(Runtime& runtime, std::string_view text, const Value* characters, bool left,
                       bool right);

}  // namespace glint::jinja
