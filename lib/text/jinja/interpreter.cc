// Statements. Expressions are in evaluate.cc.
#include "lib/text/jinja/interpreter.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace glint::jinja {
namespace {

// What a namespace or macro takes, about.
constexpr uint64_t kObjectBytes = 512;

uint32_t FindName(const Syntax& syntax, std::string_view name) {
  for (uint32_t i = 0; i < syntax.names.size(); ++i) {
    if (syntax.names[i] == name) return i;
  }
  return UINT32_MAX;
}

}  // namespace

// Macros hold scopes whose scopes other macros hold: taken apart one by one, newest first, no
// destructor recurses through all of them.
Interpreter::~Interpreter() {
  namespaces_.clear();
  scope_.reset();
  while (!macros_.empty()) macros_.pop_back();
}

std::string Interpreter::Run(const nlohmann::ordered_json& variables) {
  scope_ = std::make_shared<Scope>(nullptr);
  caller_name_ = FindName(syntax_, "caller");
  loop_name_ = FindName(syntax_, "loop");
  for (const auto& [name, value] : variables.items()) {
    const uint32_t id = FindName(syntax_, name);
    if (id != UINT32_MAX) SetVariable(id, FromJson(runtime_, value));
  }
  std::string out;
  Execute(syntax_.body, &out);
  return out;
}

void Interpreter::Append(std::string_view text, std::string* out) {
  if (out->size() + text.size() > runtime_.limits().output) {
    runtime_.Fail("the template writes more than " + std::to_string(runtime_.limits().output) +
                  " bytes");
  }
  runtime_.StepBytes(text.size());
  runtime_.Take(text.size());
  *out += text;
}

void Interpreter::SetVariable(uint32_t name, Value value) {
  for (auto& [other, old] : scope_->variables) {
    if (other != name) continue;
    old = std::move(value);
    return;
  }
  scope_->variables.emplace_back(name, std::move(value));
}

const Value* Interpreter::FindVariable(uint32_t name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    runtime_.Step();
    for (const auto& [other, value] : scope->variables) {
      if (other == name) return &value;
    }
  }
  return nullptr;
}

void Interpreter::SetAttribute(const Target& target, const Value& value) {
  const Value* object = FindVariable(target.name);
  Namespace* const* space = object ? object->If<Namespace*>() : nullptr;
  if (!space) runtime_.Fail("cannot assign attribute on non-namespace object");
  for (auto& [name, old] : (*space)->attributes) {
    if (name != target.attribute) continue;
    old = value;
    return;
  }
  (*space)->attributes.emplace_back(target.attribute, value);
}

void Interpreter::Assign(const Target& target, const Value& value) {
  if (!target.attribute.empty()) return SetAttribute(target, value);
  if (target.parts.empty()) return SetVariable(target.name, value);
  const std::vector<Value> items = Iterate(runtime_, value);
  if (items.size() != target.parts.size()) {
    runtime_.Fail("expected " + std::to_string(target.parts.size()) + " values to unpack, found " +
                  std::to_string(items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(target.parts[i], items[i]);
}

// What a stretch of the template writes, as a value.
Value Interpreter::Capture(const Body& body) {
  std::string text;
  Execute(body, &text);
  runtime_.Give(text.size());
  return MakeText(runtime_, std::move(text));
}

// Filters that were parsed over an empty text, over this one.
Value Interpreter::FilterText(const Expr& filters, const Value& text) {
  if (filters.op != Op::kFilter) return text;
  const Value input = FilterText(*filters.args[0], text);
  return EvaluateFilter(filters, &input);
}

Value Interpreter::NewNamespace(std::vector<std::pair<std::string, Value>> attributes) {
  runtime_.Take(kObjectBytes);
  namespaces_.push_back(std::make_unique<Namespace>());
  namespaces_.back()->attributes = std::move(attributes);
  return namespaces_.back().get();
}

Value Interpreter::NewMacro(const Node& node) {
  runtime_.Take(kObjectBytes);
  macros_.push_back(std::make_unique<Macro>(Macro{&node, scope_}));
  return static_cast<const Macro*>(macros_.back().get());
}

Value Interpreter::CallMacro(const Macro& macro, Arguments& arguments) {
  const Node& node = *macro.node;
  const std::shared_ptr<Scope> before = scope_;
  const uint32_t line = runtime_.line;
  std::vector<const Value*> given;
  for (const Parameter& parameter : node.parameters)
    given.push_back(arguments.Take(parameter.text));
  const Value* caller = arguments.TakeNamed("caller");
  arguments.Done();
  scope_ = std::make_shared<Scope>(macro.scope);
  if (caller_name_ != UINT32_MAX && caller) SetVariable(caller_name_, *caller);
  for (size_t i = 0; i < given.size(); ++i) {
    const Parameter& parameter = node.parameters[i];
    SetVariable(parameter.name, given[i] ? *given[i]
                                : parameter.value
                                    ? Evaluate(*parameter.value)
                                    : MakeUndefined(runtime_, "parameter '" + parameter.text +
                                                                  "' was not provided"));
  }
  Value text = Capture(node.body);
  scope_ = before;
  runtime_.line = line;
  return text;
}

Interpreter::Flow Interpreter::Execute(const Body& body, std::string* out) {
  for (const auto& node : body) {
    const Flow flow = ExecuteNode(*node, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecuteNode(const Node& node, std::string* out) {
  const DepthGuard depth(&runtime_);
  runtime_.line = node.line;
  runtime_.Step();
  switch (node.tag) {
    case Tag::kText:
      Append(node.text, out);
      return Flow::kNext;
    case Tag::kOutput: {
      const Value value = Evaluate(*node.value);
      Append(value.Str() ? *value.Str() : ToText(runtime_, value), out);
      return Flow::kNext;
    }
    case Tag::kFor:
      return ExecuteFor(node, out);
    case Tag::kIf:
      return ExecuteIf(node, out);
    case Tag::kSet:
      Assign(node.target, Evaluate(*node.value));
      return Flow::kNext;
    case Tag::kSetBlock:
    case Tag::kFilterBlock:
      ExecuteBlock(node, out);
      return Flow::kNext;
    case Tag::kMacro:
      SetVariable(node.target.name, NewMacro(node));
      return Flow::kNext;
    case Tag::kCallBlock:
      ExecuteCallBlock(node, out);
      return Flow::kNext;
    case Tag::kWith:
      return ExecuteWith(node, out);
    case Tag::kBlock:
      return Execute(node.body, out);
    case Tag::kBreak:
      return Flow::kBreak;
    case Tag::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

// {% set x %} and {% filter f %}: their bodies are scopes of their own.
void Interpreter::ExecuteBlock(const Node& node, std::string* out) {
  const std::shared_ptr<Scope> before = scope_;
  scope_ = std::make_shared<Scope>(before);
  Value text = Capture(node.body);
  scope_ = before;
  text = FilterText(*node.value, text);
  if (node.tag == Tag::kSetBlock) {
    Assign(node.target, text);
  } else {
    Append(ToText(runtime_, text), out);
  }
}

Interpreter::Flow Interpreter::ExecuteIf(const Node& node, std::string* out) {
  for (const auto& [condition, body] : node.branches) {
    if (Truth(Evaluate(*condition))) return Execute(body, out);
  }
  return Execute(node.other, out);
}

// The values are those of the scope around it.
Interpreter::Flow Interpreter::ExecuteWith(const Node& node, std::string* out) {
  std::vector<Value> values;
  for (const auto& assignment : node.assignments) values.push_back(Evaluate(*assignment.second));
  const std::shared_ptr<Scope> before = scope_;
  scope_ = std::make_shared<Scope>(before);
  for (size_t i = 0; i < values.size(); ++i) Assign(node.assignments[i].first, values[i]);
  const Flow flow = Execute(node.body, out);
  scope_ = before;
  return flow;
}

// The body becomes the macro `caller` of the macro that is called.
void Interpreter::ExecuteCallBlock(const Node& node, std::string* out) {
  const Expr& call = *node.value;
  const Value function = Evaluate(*call.args[0]);
  if (!function.If<const Macro*>()) runtime_.Fail("{% call %} calls macros only");
  Arguments arguments(&runtime_, "the macro");
  EvaluateArguments(call, &arguments);
  arguments.keywords.emplace_back("caller", NewMacro(node));
  Append(ToText(runtime_, Call(function, arguments)), out);
}

// Item number `index` of those that the loop's condition accepts; null beyond the last.
const Value* Interpreter::LoopItem(LoopState* loop, size_t index) {
  if (!loop->node->condition) {
    return index < loop->source.size() ? &loop->source[index] : nullptr;
  }
  while (loop->items.size() <= index && loop->next < loop->source.size()) {
    const Value item = loop->source[loop->next++];
    const std::shared_ptr<Scope> before = scope_;
    scope_ = std::make_shared<Scope>(loop->scope);
    Assign(loop->node->target, item);
    if (Truth(Evaluate(*loop->node->condition))) loop->items.push_back(item);
    scope_ = before;
  }
  return index < loop->items.size() ? &loop->items[index] : nullptr;
}

Interpreter::Flow Interpreter::ExecuteFor(const Node& node, std::string* out) {
  const auto loop = std::make_shared<LoopState>();
  const std::shared_ptr<Scope> before = scope_;
  loop->source = Iterate(runtime_, Evaluate(*node.value));
  loop->node = &node;
  loop->scope = before;
  const Charge charge(&runtime_,
                      loop->source.capacity() * sizeof(Value) * (node.condition ? 2 : 1));
  bool empty = true;
  for (; const Value* item = LoopItem(loop.get(), loop->index); ++loop->index) {
    empty = false;
    runtime_.line = node.line;
    runtime_.Step();
    scope_ = std::make_shared<Scope>(before);
    if (loop_name_ != UINT32_MAX) SetVariable(loop_name_, loop);
    Assign(node.target, *item);
    const Flow flow = Execute(node.body, out);
    scope_ = before;
    if (flow == Flow::kBreak) break;
  }
  // A namespace may still hold it.
  *loop = LoopState();
  if (!empty) return Flow::kNext;
  scope_ = std::make_shared<Scope>(before);
  const Flow flow = Execute(node.other, out);
  scope_ = before;
  return flow;
}

}  // namespace glint::jinja
