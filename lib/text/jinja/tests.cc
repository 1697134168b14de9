// What stands after "is".
#include "lib/text/jinja/interpreter.h"

namespace glint::jinja {
namespace {

using Input = const Value&;

// A test without arguments.
template <bool (*kIs)(Input)>
bool Plain(Interpreter&, Input input, Arguments& arguments) {
  arguments.Done();
  return kIs(input);
}

bool IsDefined(Input v) {
  return !v.IsUndefined();
}
bool IsUndefined(Input v) {
  return v.IsUndefined();
}
bool IsNone(Input v) {
  return v.IsNone();
}
bool IsBoolean(Input v) {
  return v.If<bool>() != nullptr;
}
bool IsTrue(Input v) {
  return v.If<bool>() && *v.If<bool>();
}
bool IsFalse(Input v) {
  return v.If<bool>() && !*v.If<bool>();
}
bool IsInteger(Input v) {
  return v.If<int64_t>() != nullptr;
}
bool IsFloat(Input v) {
  return v.If<double>() != nullptr;
}
bool IsNumber(Input v) {
  return v.IsNumber();
}
bool IsString(Input v) {
  return v.Str() != nullptr;
}
bool IsMapping(Input v) {
  return v.AsDict() != nullptr;
}
// An undefined value has a length, and nothing to walk over.
bool IsIterable(Input v) {
  return v.Str() || v.Items() || v.AsDict() || v.IsUndefined();
}
bool IsSequence(Input v) {
  return v.Str() || v.Items() || v.AsDict() || v.IsUndefined();
}
// An undefined value can be called, which then fails.
bool IsCallable(Input v) {
  return v.IsCallable() || v.IsUndefined();
}

template <int64_t kRest>
bool IsRest(Interpreter&, Input input, Arguments& arguments) {
  arguments.Done();
  if (!input.IsInt()) arguments.Fail("expected a whole number");
  return (input.Int() % 2 != 0) == (kRest != 0);
}

bool DivisibleBy(Interpreter&, Input input, Arguments& arguments) {
  const int64_t by = arguments.TakeInt("num", 0);
  arguments.Done();
  if (!input.IsInt() || by == 0) arguments.Fail("expected whole numbers");
  return by == -1 || input.Int() % by == 0;
}

template <bool kEqual>
bool Equals(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value other = arguments.Require("other");
  arguments.Done();
  return Equal(interpreter.runtime(), input, other) == kEqual;
}

// input < other, or with kSwap other < input; or equal.
template <bool kSwap, bool kOrEqual>
bool Orders(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value other = arguments.Require("other");
  arguments.Done();
  Runtime& runtime = interpreter.runtime();
  return Less(runtime, kSwap ? other : input, kSwap ? input : other) ||
         (kOrEqual && Equal(runtime, input, other));
}

bool IsIn(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value container = arguments.Require("seq");
  arguments.Done();
  return Contains(interpreter.runtime(), container, input);
}

// Of small values equality is identity, as Python shares them; others are never the same here.
bool SameAs(Interpreter& interpreter, Input input, Arguments& arguments) {
  const Value other = arguments.Require("other");
  arguments.Done();
  const bool small = input.IsNone() || input.If<bool>() || input.If<int64_t>();
  if (!small) arguments.Fail("only true, false, none and whole numbers are supported");
  return std::string_view(input.TypeName()) == other.TypeName() &&
         Equal(interpreter.runtime(), input, other);
}

template <std::string (*kChange)(Runtime&, std::string_view)>
bool IsOfCase(Interpreter& interpreter, Input input, Arguments& arguments) {
  arguments.Done();
  Runtime& runtime = interpreter.runtime();
  const std::string text = ToText(runtime, input);
  // str.isupper() wants some letter that has a case.
  return kChange(runtime, text) == text && Upper(runtime, text) != Lower(runtime, text);
}

constexpr TestRow kTests[] = {
    {"!=", Equals<false>},
    {"<", Orders<false, false>},
    {"<=", Orders<false, true>},
    {"==", Equals<true>},
    {">", Orders<true, false>},
    {">=", Orders<true, true>},
    {"boolean", Plain<IsBoolean>},
    {"callable", Plain<IsCallable>},
    {"defined", Plain<IsDefined>},
    {"divisibleby", DivisibleBy},
    {"eq", Equals<true>},
    {"equalto", Equals<true>},
    {"even", IsRest<0>},
    {"false", Plain<IsFalse>},
    {"float", Plain<IsFloat>},
    {"ge", Orders<true, true>},
    {"greaterthan", Orders<true, false>},
    {"gt", Orders<true, false>},
    {"in", IsIn},
    {"integer", Plain<IsInteger>},
    {"iterable", Plain<IsIterable>},
    {"le", Orders<false, true>},
    {"lessthan", Orders<false, false>},
    {"lower", IsOfCase<Lower>},
    {"lt", Orders<false, false>},
    {"mapping", Plain<IsMapping>},
    {"ne", Equals<false>},
    {"none", Plain<IsNone>},
    {"number", Plain<IsNumber>},
    {"odd", IsRest<1>},
    {"sameas", SameAs},
    {"sequence", Plain<IsSequence>},
    {"string", Plain<IsString>},
    {"true", Plain<IsTrue>},
    {"undefined", Plain<IsUndefined>},
    {"upper", IsOfCase<Upper>},
};

}  // namespace

const TestRow* FindTest(std::string_view name) {
  for (const TestRow& row : kTests) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace glint::jinja
