#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/jinja/builtins.h"
#include "lib/text/jinja/syntax.h"
#include "lib/text/jinja/value.h"

namespace glint::jinja {

// Variables of a stretch of the template: the whole, one pass of a loop, a macro's call.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<uint32_t, Value>> variables;

  explicit Scope(std::shared_ptr<Scope> p) : parent(std::move(p)) {}
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

// A macro, or the body of a {% call %}, with the variables around it.
struct Macro {
  const Node* node;
  std::shared_ptr<Scope> scope;
};

// The `loop` of a for statement. With a condition the items are tested only as they are asked for:
// a condition can depend on what the body did to a namespace.
struct LoopState {
  std::vector<Value> source;     // what the loop walks over
  size_t next = 0;               // in source
  std::vector<Value> items;      // of those, accepted; without a condition empty: source is
  size_t index = 0;              // of the pass
  const Node* node = nullptr;    // null once the loop has ended: then nothing is left of it
  std::shared_ptr<Scope> scope;  // around the loop
};

// Held by all that recurses. A call's frames are large and it counts as so many levels: whatever recurses
// fits a stack of 256 KiB.
inline constexpr uint32_t kMaxDepth = 1000;
inline constexpr uint32_t kCallLevels = 16;
class DepthGuard {
 public:
  explicit DepthGuard(Runtime* runtime, uint32_t levels = 1) : runtime_(runtime), levels_(levels) {
    if (runtime_->depth + levels_ > kMaxDepth) {
      runtime_->Fail("the template calls itself without end");
    }
    runtime_->depth += levels_;
  }
  ~DepthGuard() { runtime_->depth -= levels_; }

 private:
  Runtime* runtime_;
  uint32_t levels_;
};

// Runs a template once.
class Interpreter {
 public:
  Interpreter(const Syntax& syntax, const JinjaLimits& limits, const std::string& where)
      : runtime_(limits, where), syntax_(syntax) {}
  ~Interpreter();

  std::string Run(const nlohmann::ordered_json& variables);

  // What builtins use.
  Runtime& runtime() { return runtime_; }
  Value Attribute(const Value& value, const std::string& name);
  Value Item(const Value& value, const Value& key);
  Value Call(const Value& function, Arguments& arguments);
  Value NewNamespace(std::vector<std::pair<std::string, Value>> attributes);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  // Statements.
  Flow Execute(const Body& body, std::string* out);
  Flow ExecuteNode(const Node& node, std::string* out);
  void ExecuteBlock(const Node& node, std::string* out);
  Flow ExecuteFor(const Node& node, std::string* out);
  Flow ExecuteIf(const Node& node, std::string* out);
  Flow ExecuteWith(const Node& node, std::string* out);
  void ExecuteCallBlock(const Node& node, std::string* out);
  const Value* LoopItem(LoopState* loop, size_t index);
  void Append(std::string_view text, std::string* out);
  void Assign(const Target& target, const Value& value);
  void SetVariable(uint32_t name, Value value);
  void SetAttribute(const Target& target, const Value& value);
  Value Capture(const Body& body);
  Value FilterText(const Expr& filters, const Value& text);
  Value NewMacro(const Node& node);
  Value CallMacro(const Macro& macro, Arguments& arguments);

  // Expressions.
  Value Evaluate(const Expr& expr);
  Value EvaluateName(const Expr& expr);
  Value EvaluateItems(const Expr& expr);
  Value EvaluateSlice(const Expr& expr);
  Value EvaluateConcat(const Expr& expr);
  Value EvaluateCompare(const Expr& expr);
  Value EvaluateArithmetic(const Expr& expr);
  Value EvaluateCall(const Expr& expr);
  Value EvaluateFilter(const Expr& expr, const Value* input);
  Value EvaluateTest(const Expr& expr);
  void EvaluateArguments(const Expr& expr, Arguments* arguments);
  Value LoopAttribute(LoopState* loop, const std::string& name);
  const Value* FindVariable(uint32_t name);

  Runtime runtime_;
  const Syntax& syntax_;
  std::shared_ptr<Scope> scope_;
  uint32_t caller_name_ = UINT32_MAX, loop_name_ = UINT32_MAX;  // if the template has these names
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  std::vector<std::unique_ptr<Macro>> macros_;
};

}  // namespace glint::jinja
