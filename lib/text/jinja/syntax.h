#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A template as a tree. Its depth is bounded, so what walks it may recurse.
namespace glint::jinja {

struct FilterRow;  // builtins.h
struct TestRow;    // builtins.h

inline constexpr uint32_t kMaxSourceBytes = 1 << 20;
inline constexpr uint32_t kMaxNesting = 100;     // brackets, and statements in statements
inline constexpr uint32_t kMaxExprHeight = 500;  // a + b + c + ...

enum class Op : uint8_t {
  kText,
  kInt,
  kFloat,
  kTrue,
  kFalse,
  kNone,  // constants
  kName,  // name
  kList,
  kTuple,
  kDict,         // args: items; of a dict key, value, key, value ...
  kAttribute,    // args[0].text
  kItem,         // args[0][args[1]]
  kSlice,        // args[0][args[1]:args[2]:args[3]], null for what is absent
  kCall,         // args[0](args..., keywords)
  kSpread,       // among arguments: *args[0]. **x is a keyword without a name
  kFilter,       // args[0] | text(args..., keywords)
  kTest,         // args[0] is text(args...)
  kConditional,  // args[1] if args[0] else args[2], which may be null
  kNot,
  kNegate,
  kPlus,
  kAnd,
  kOr,
  kConcat,  // concat: any number
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kCompare,  // args[0] compares[0] args[1] compares[1] args[2] ...
};

enum class Compare : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

struct Expr {
  Op op = Op::kNone;
  uint32_t line = 0;
  uint32_t height = 1;
  uint32_t name = 0;  // of kName: its number in Syntax::names
  int64_t integer = 0;
  double number = 0;
  std::string text;
  std::vector<std::unique_ptr<Expr>> args;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> keywords;
  std::vector<Compare> compares;
  const FilterRow* filter = nullptr;  // null: not known
  const TestRow* test = nullptr;
};
using ExprPtr = std::unique_ptr<Expr>;

// Where a value goes: a name, an attribute of a namespace, or several of these.
struct Target {
  uint32_t name = 0;
  std::string attribute;      // not empty: of a namespace
  std::vector<Target> parts;  // not empty: unpacked into these
};

struct Parameter {
  uint32_t name;
  std::string text;
  ExprPtr value;  // by default; null: none
};

enum class Tag : uint8_t {
  kText,         // text
  kOutput,       // value
  kFor,          // target, value, condition (may be null), body, other
  kIf,           // branches; other
  kSet,          // target, value
  kSetBlock,     // target, body, value: the filters over a kText placeholder, or null
  kMacro,        // target.name, parameters, body
  kCallBlock,    // value (a call), parameters, body
  kFilterBlock,  // value: filters over a placeholder; body
  kWith,         // targets with values in `assignments`, body
  kBlock,        // body alone, of {% generation %}
  kBreak,
  kContinue,
};

struct Node;
using Body = std::vector<std::unique_ptr<Node>>;

struct Node {
  Tag tag = Tag::kText;
  uint32_t line = 0;
  std::string text;
  Target target;
  ExprPtr value, condition;
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, ExprPtr>> assignments;
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body body, other;
};

struct Syntax {
  Body body;
  std::vector<std::string> names;  // each once
};

// Throws Error, beginning with `where`, with the line.
Syntax Parse(std::string_view source, const std::string& where);

}  // namespace glint::jinja
