// Expressions.
#include <algorithm>
#include <cmath>

#include "lib/text/jinja/interpreter.h"

namespace glint::jinja {
namespace {

[[noreturn]] void FailOperands(const Runtime& runtime, const char* op, const Value& a,
                               const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->If<Undefined>()) runtime.Fail(undefined->why->text);
  }
  runtime.Fail(std::string("unsupported operand types for ") + op + ": '" + a.TypeName() +
               "' and '" + b.TypeName() + "'");
}

// Text or a list, n times.
Value Repeat(Runtime& runtime, const Value& value, int64_t times) {
  const uint64_t n = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  const uint64_t size = value.Str() ? value.Str()->size() : value.Items()->size() * sizeof(Value);
  if (n != 0 && size > runtime.limits().memory / n) runtime.Take(UINT64_MAX);
  runtime.StepBytes(n * size);
  if (value.Str()) {
    std::string text;
    text.reserve(n * size);
    for (uint64_t i = 0; i < n && size > 0; ++i) text += *value.Str();
    return MakeText(runtime, std::move(text));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < n && size > 0; ++i) {
    items.insert(items.end(), value.Items()->begin(), value.Items()->end());
  }
  return MakeList(runtime, std::move(items), value.IsTuple());
}

Value IntPower(Runtime& runtime, int64_t base, int64_t exponent) {
  if (exponent < 0) return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  int64_t result = 1;
  for (int64_t i = 0; i < exponent && result != 0; ++i) {
    if (i > 64 && (base == 1 || base == -1 || base == 0)) {
      return exponent % 2 == 0 ? base * base : base;
    }
    if (__builtin_mul_overflow(result, base, &result)) runtime.Fail("a number beyond 64 bits");
  }
  return result;
}

// Python's // and % round down, whatever the signs.
Value IntArithmetic(Runtime& runtime, Op op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kPower:
      return IntPower(runtime, a, b);
    default:
      if (b == 0) runtime.Fail("division by zero");
      if (op == Op::kDivide) return static_cast<double>(a) / static_cast<double>(b);
      if (b == -1) {
        if (op == Op::kModulo) return int64_t{0};
        overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
        break;
      }
      result = op == Op::kModulo ? a % b : a / b;
      if (a % b != 0 && (a < 0) != (b < 0)) result += op == Op::kModulo ? b : -1;
  }
  if (overflow) runtime.Fail("a number beyond 64 bits");
  return result;
}

Value FloatArithmetic(Runtime& runtime, Op op, double a, double b) {
  if (op == Op::kAdd) return a + b;
  if (op == Op::kSubtract) return a - b;
  if (op == Op::kMultiply) return a * b;
  if (op == Op::kPower) return std::pow(a, b);
  if (b == 0) runtime.Fail("division by zero");
  if (op == Op::kDivide) return a / b;
  const double rest = std::fmod(a, b);
  const bool correct = rest != 0 && (rest < 0) != (b < 0);
  if (op == Op::kModulo) return correct ? rest + b : rest;
  return std::floor((a - (correct ? rest + b : rest)) / b + 0.5);
}

constexpr const char* OperatorText(Op op) {
  return op == Op::kAdd           ? "+"
         : op == Op::kSubtract    ? "-"
         : op == Op::kMultiply    ? "*"
         : op == Op::kDivide      ? "/"
         : op == Op::kFloorDivide ? "//"
         : op == Op::kModulo      ? "%"
                                  : "**";
}

}  // namespace

Value Interpreter::Evaluate(const Expr& expr) {
  const DepthGuard depth(&runtime_);
  runtime_.line = expr.line;
  runtime_.Step();
  switch (expr.op) {
    case Op::kText:
      return MakeText(runtime_, expr.text);
    case Op::kInt:
      return expr.integer;
    case Op::kFloat:
      return expr.number;
    case Op::kTrue:
      return true;
    case Op::kFalse:
      return false;
    case Op::kNone:
      return None();
    case Op::kName:
      return EvaluateName(expr);
    case Op::kList:
    case Op::kTuple:
    case Op::kDict:
      return EvaluateItems(expr);
    case Op::kAttribute:
      return Attribute(Evaluate(*expr.args[0]), expr.text);
    case Op::kItem: {
      const Value object = Evaluate(*expr.args[0]);
      return Item(object, Evaluate(*expr.args[1]));
    }
    case Op::kSlice:
      return EvaluateSlice(expr);
    case Op::kCall:
      return EvaluateCall(expr);
    case Op::kFilter:
      return EvaluateFilter(expr, nullptr);
    case Op::kTest:
      return EvaluateTest(expr);
    case Op::kConditional:
      if (Truth(Evaluate(*expr.args[0]))) return Evaluate(*expr.args[1]);
      if (expr.args[2]) return Evaluate(*expr.args[2]);
      return MakeUndefined(runtime_,
                           "the inline if-expression evaluated to false and no else "
                           "section was defined");
    case Op::kNot:
      return !Truth(Evaluate(*expr.args[0]));
    case Op::kAnd:
    case Op::kOr: {
      Value first = Evaluate(*expr.args[0]);
      return Truth(first) == (expr.op == Op::kOr) ? first : Evaluate(*expr.args[1]);
    }
    case Op::kConcat:
      return EvaluateConcat(expr);
    case Op::kCompare:
      return EvaluateCompare(expr);
    case Op::kSpread:
      runtime_.Fail("'*' outside the arguments of a call");
    default:
      return EvaluateArithmetic(expr);
  }
}

Value Interpreter::EvaluateName(const Expr& expr) {
  if (const Value* value = FindVariable(expr.name)) return *value;
  const std::string& name = syntax_.names[expr.name];
  if (const FunctionRow* function = FindFunction(name)) return function;
  return MakeUndefined(runtime_, "'" + name + "' is undefined");
}

Value Interpreter::EvaluateItems(const Expr& expr) {
  std::vector<Value> items;
  for (const ExprPtr& item : expr.args) items.push_back(Evaluate(*item));
  if (expr.op != Op::kDict) return MakeList(runtime_, std::move(items), expr.op == Op::kTuple);
  Pairs pairs;
  for (size_t i = 0; i + 1 < items.size(); i += 2) pairs.emplace_back(items[i], items[i + 1]);
  return MakeDict(runtime_, std::move(pairs));
}

Value Interpreter::EvaluateSlice(const Expr& expr) {
  const Value object = Evaluate(*expr.args[0]);
  if (const Undefined* undefined = object.If<Undefined>()) runtime_.Fail(undefined->why->text);
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.args[i + 1]) parts[i] = Evaluate(*expr.args[i + 1]);
  }
  return Slice(runtime_, object, parts[0], parts[1], parts[2]);
}

Value Interpreter::EvaluateConcat(const Expr& expr) {
  std::string text;
  for (const ExprPtr& part : expr.args) {
    const Value value = Evaluate(*part);
    text += value.Str() ? *value.Str() : ToText(runtime_, value);
    if (text.size() > runtime_.limits().memory) runtime_.Take(text.size());
  }
  return MakeText(runtime_, std::move(text));
}

Value Interpreter::EvaluateCompare(const Expr& expr) {
  Value left = Evaluate(*expr.args[0]);
  for (size_t i = 0; i < expr.compares.size(); ++i) {
    Value right = Evaluate(*expr.args[i + 1]);
    const Compare compare = expr.compares[i];
    bool holds = false;
    switch (compare) {
      case Compare::kEq:
      case Compare::kNe:
        holds = Equal(runtime_, left, right) == (compare == Compare::kEq);
        break;
      case Compare::kIn:
      case Compare::kNotIn:
        holds = Contains(runtime_, right, left) == (compare == Compare::kIn);
        break;
      default: {
        if (left.IsUndefined() || right.IsUndefined()) FailOperands(runtime_, "<", left, right);
        const bool strict = compare == Compare::kLt || compare == Compare::kGt;
        const bool up = compare == Compare::kLt || compare == Compare::kLe;
        holds = Less(runtime_, up ? left : right, up ? right : left) ||
                (!strict && Equal(runtime_, left, right));
      }
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::EvaluateArithmetic(const Expr& expr) {
  const Value a = Evaluate(*expr.args[0]);
  if (expr.op == Op::kNegate || expr.op == Op::kPlus) {
    if (!a.IsNumber()) FailOperands(runtime_, "a sign", a, a);
    if (!a.IsInt()) return expr.op == Op::kNegate ? -a.Double() : a.Double();
    return IntArithmetic(runtime_, Op::kMultiply, a.Int(), expr.op == Op::kNegate ? -1 : 1);
  }
  const Value b = Evaluate(*expr.args[1]);
  runtime_.line = expr.line;
  if (a.IsInt() && b.IsInt()) return IntArithmetic(runtime_, expr.op, a.Int(), b.Int());
  if (a.IsNumber() && b.IsNumber()) {
    return FloatArithmetic(runtime_, expr.op, a.Double(), b.Double());
  }
  if (expr.op == Op::kAdd && a.Str() && b.Str()) return MakeText(runtime_, *a.Str() + *b.Str());
  if (expr.op == Op::kAdd && a.Items() && b.Items() && a.IsTuple() == b.IsTuple()) {
    std::vector<Value> items = *a.Items();
    items.insert(items.end(), b.Items()->begin(), b.Items()->end());
    return MakeList(runtime_, std::move(items), a.IsTuple());
  }
  if (expr.op == Op::kMultiply && (a.Str() || a.Items()) && b.IsInt()) {
    return Repeat(runtime_, a, b.Int());
  }
  if (expr.op == Op::kMultiply && (b.Str() || b.Items()) && a.IsInt()) {
    return Repeat(runtime_, b, a.Int());
  }
  if (expr.op == Op::kModulo && a.Str()) runtime_.Fail("formatting with % is not supported");
  FailOperands(runtime_, OperatorText(expr.op), a, b);
}

void Interpreter::EvaluateArguments(const Expr& expr, Arguments* arguments) {
  for (size_t i = 1; i < expr.args.size(); ++i) {
    if (expr.args[i]->op != Op::kSpread) {
      arguments->positional.push_back(Evaluate(*expr.args[i]));
      continue;
    }
    for (Value& item : Iterate(runtime_, Evaluate(*expr.args[i]->args[0]))) {
      arguments->positional.push_back(std::move(item));
    }
  }
  for (const auto& [name, expr_value] : expr.keywords) {
    const Value value = Evaluate(*expr_value);
    if (!name.empty()) {
      arguments->keywords.emplace_back(name, value);
      continue;
    }
    if (!value.AsDict()) arguments->Fail("** expects a mapping");
    for (const auto& [key, item] : value.AsDict()->pairs) {
      if (!key.Str()) arguments->Fail("** expects names that are text");
      arguments->keywords.emplace_back(*key.Str(), item);
    }
  }
  runtime_.line = expr.line;
}

Value Interpreter::EvaluateCall(const Expr& expr) {
  const Value function = Evaluate(*expr.args[0]);
  const Expr& callee = *expr.args[0];
  const std::string name = callee.op == Op::kName ? syntax_.names[callee.name] : callee.text;
  Arguments arguments(&runtime_, name);
  EvaluateArguments(expr, &arguments);
  return Call(function, arguments);
}

Value Interpreter::Call(const Value& function, Arguments& arguments) {
  const DepthGuard depth(&runtime_, kCallLevels);
  if (const auto* macro = function.If<const Macro*>()) return CallMacro(**macro, arguments);
  if (const auto* row = function.If<const FunctionRow*>()) return (*row)->run(*this, arguments);
  if (const auto* bound = function.If<std::shared_ptr<const Bound>>()) {
    return (*bound)->method->run(runtime_, (*bound)->self, arguments);
  }
  if (const Undefined* undefined = function.If<Undefined>()) runtime_.Fail(undefined->why->text);
  runtime_.Fail(std::string("'") + function.TypeName() + "' object is not callable");
}

Value Interpreter::EvaluateFilter(const Expr& expr, const Value* input) {
  const Value own = input ? *input : Evaluate(*expr.args[0]);
  runtime_.line = expr.line;
  if (!expr.filter) runtime_.Fail("unknown filter '" + expr.text + "'");
  Arguments arguments(&runtime_, expr.text);
  EvaluateArguments(expr, &arguments);
  return expr.filter->run(*this, own, arguments);
}

Value Interpreter::EvaluateTest(const Expr& expr) {
  const Value input = Evaluate(*expr.args[0]);
  if (!expr.test) runtime_.Fail("unknown test '" + expr.text + "'");
  Arguments arguments(&runtime_, expr.text);
  EvaluateArguments(expr, &arguments);
  return expr.test->run(*this, input, arguments);
}

Value Interpreter::LoopAttribute(LoopState* loop, const std::string& name) {
  if (!loop->node) runtime_.Fail("the loop has ended");
  const auto index = static_cast<int64_t>(loop->index);
  const auto length = [&] {
    if (loop->node->condition) LoopItem(loop, SIZE_MAX);
    return static_cast<int64_t>(loop->node->condition ? loop->items.size() : loop->source.size());
  };
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "first") return index == 0;
  if (name == "last") return LoopItem(loop, loop->index + 1) == nullptr;
  if (name == "length") return length();
  if (name == "revindex") return length() - index;
  if (name == "revindex0") return length() - index - 1;
  if (name == "depth") return int64_t{1};  // of recursive loops alone it is another
  if (name == "depth0") return int64_t{0};
  if (name == "previtem" || name == "nextitem") {
    const Value* item = nullptr;
    if (name == "nextitem") item = LoopItem(loop, loop->index + 1);
    if (name == "previtem" && index > 0) item = LoopItem(loop, loop->index - 1);
    return item ? *item : MakeUndefined(runtime_, "there is no " + name);
  }
  runtime_.Fail("'loop." + name + "' is not supported");
}

Value Interpreter::Attribute(const Value& value, const std::string& name) {
  if (const Undefined* undefined = value.If<Undefined>()) runtime_.Fail(undefined->why->text);
  if (const auto* loop = value.If<std::shared_ptr<LoopState>>()) {
    return LoopAttribute(loop->get(), name);
  }
  if (const auto* space = value.If<Namespace*>()) {
    for (const auto& [other, item] : (*space)->attributes) {
      if (other == name) return item;
    }
  }
  if (const MethodRow* method = FindMethod(value, name)) {
    if (!method->run) {
      runtime_.Fail(std::string(value.TypeName()) + "." + name + "() is not supported");
    }
    const Charge charge(&runtime_, sizeof(Bound));
    return std::make_shared<const Bound>(Bound{value, method});
  }
  if (value.AsDict()) {
    runtime_.Step(1 + value.AsDict()->pairs.size() / 8);
    if (const Value* item = Find(*value.AsDict(), name)) return *item;
  }
  return MakeUndefined(
      runtime_, std::string("'") + value.TypeName() + " object' has no attribute '" + name + "'");
}

Value Interpreter::Item(const Value& value, const Value& key) {
  if (const Undefined* undefined = value.If<Undefined>()) runtime_.Fail(undefined->why->text);
  if (value.AsDict()) {
    if (const Value* item = Find(runtime_, *value.AsDict(), key)) return *item;
  }
  if (key.IsInt() && (value.Items() || value.Str())) {
    const int64_t size = value.Items() ? static_cast<int64_t>(value.Items()->size())
                                       : Length(runtime_, *value.Str());
    const int64_t at = key.Int() < 0 ? key.Int() + size : key.Int();
    if (at < 0 || at >= size) {
      return MakeUndefined(runtime_, std::string("'") + value.TypeName() +
                                         " object' has no element " + std::to_string(key.Int()));
    }
    if (value.Items()) return (*value.Items())[static_cast<size_t>(at)];
    return Slice(runtime_, value, at, at + 1, None());
  }
  if (key.Str()) return Attribute(value, *key.Str());
  return MakeUndefined(runtime_, std::string("'") + value.TypeName() + " object' has no element " +
                                     ToText(runtime_, key));
}

}  // namespace glint::jinja
