#include "lib/ops/ops.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "lib/error.h"
#include "lib/ops/op_rows.h"

namespace glint {

const std::vector<Op> kOps = {
    EmbeddingOp(), LinearOp(),    LayerNormOp(), RmsNormOp(), SplitHeadsOp(), SplitQkvOp(),
    RopeOp(),      AttentionOp(), GeluOp(),      SiluOp(),    AddOp(),        MulOp(),
    GatherOp(),    HiddenOp(),    ScaleOp(),     SoftcapOp(), RouteOp(),      RoutedLinearOp(),
    CombineOp(),   GateOp(),
};

const Op* FindOp(const std::string& name) {
  for (const Op& op : kOps) {
    if (name == op.name) return &op;
  }
  return nullptr;
}

std::span<const std::string> WeightsOf(const Node& node) {
  const Op* op = FindOp(node.op);
  if (!op || op->weights.most == 0) return {};
  const std::span<const std::string> inputs = node.inputs;
  return inputs.subspan(op->weights.first,
                        std::min(op->weights.most, inputs.size() - op->weights.first));
}

size_t FindHead(const Graph& graph) {
  if (graph.outputs.size() != 1) return graph.nodes.size();
  std::string value = graph.outputs[0];
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (node.outputs != std::vector<std::string>{value}) continue;
    if (node.op == "linear") return i;
    if (node.inputs.size() != 1) break;
    value = node.inputs[0];
  }
  return graph.nodes.size();
}

const std::vector<GraphInput> kGraphInputs = {
    {"ids", {kTokens}},         {"position.0", {kTokens}}, {"position.1", {kTokens}},
    {"cache_index", {kTokens}}, {"prefix_len", {1}},
};

std::string ToString(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += shape[i] == kTokens ? "n_tokens" : std::to_string(shape[i]);
  }
  return text + ")";
}

namespace {

std::string NodePlace(const std::string& where, const Node& node) {
  const std::string output = node.outputs.empty() ? "?" : node.outputs[0];
  return where + ": node " + Quoted(output) + " (op " + Quoted(node.op) + ")";
}

const GraphInput* FindGraphInput(const std::string& name) {
  for (const GraphInput& input : kGraphInputs) {
    if (name == input.name) return &input;
  }
  return nullptr;
}

const char* TypeName(AttributeSpec::Type type) {
  static constexpr const char* kNames[] = {"an integer", "a number", "a text"};
  return kNames[static_cast<size_t>(type)];
}

bool IsOfType(const Attribute& value, AttributeSpec::Type type) {
  switch (type) {
    case AttributeSpec::Type::kInt: return std::holds_alternative<int64_t>(value);
    case AttributeSpec::Type::kReal: return std::holds_alternative<double>(value);
    case AttributeSpec::Type::kText: return std::holds_alternative<std::string>(value);
  }
  return false;
}

void CheckValue(const std::string& place, const AttributeSpec& spec, const Attribute& value) {
  const std::string name = place + ": attribute " + Quoted(spec.name);
  if (!IsOfType(value, spec.type)) throw Error(name + ": expected " + TypeName(spec.type));
  if (spec.type == AttributeSpec::Type::kText) {
    const std::string& text = std::get<std::string>(value);
    std::string known;
    for (const char* choice : spec.choices) {
      if (text == choice) return;
      known += std::string(known.empty() ? "" : ", ") + choice;
    }
    throw Error(name + ": unknown value " + Quoted(text) + "; known: " + known);
  }
  const double number = spec.type == AttributeSpec::Type::kInt
                            ? static_cast<double>(std::get<int64_t>(value))
                            : std::get<double>(value);
  // Integers are sizes: none is beyond this machine's.
  double high = spec.high;
  if (spec.type == AttributeSpec::Type::kInt) {
    high = std::min(high, static_cast<double>(std::numeric_limits<ptrdiff_t>::max()));
  }
  if (!(number >= spec.low && number <= high)) {
    throw Error(name + ": expected " + std::to_string(spec.low) + " to " + std::to_string(high) +
                ", found " + std::to_string(number));
  }
}

void CheckAttributes(const std::string& place, const Op& op, const Node& node) {
  for (const AttributeSpec& spec : op.attributes) {
    const auto found = node.attributes.find(spec.name);
    if (found != node.attributes.end()) {
      CheckValue(place, spec, found->second);
    } else if (!spec.absent) {
      throw Error(place + ": attribute " + Quoted(spec.name) + " is missing");
    }
  }
  // An attribute ignored would be output silently wrong.
  for (const auto& [name, value] : node.attributes) {
    const auto known = [&name = name](const AttributeSpec& spec) { return name == spec.name; };
    if (std::none_of(op.attributes.begin(), op.attributes.end(), known)) {
      throw Error(place + ": unknown attribute " + Quoted(name));
    }
  }
}

const Attribute& AttributeOf(const Node& node, const char* name) {
  const auto found = node.attributes.find(name);
  if (found != node.attributes.end()) return found->second;
  const std::vector<AttributeSpec>& specs = FindOp(node.op)->attributes;
  const auto is_it = [&](const AttributeSpec& spec) { return std::strcmp(spec.name, name) == 0; };
  return *std::find_if(specs.begin(), specs.end(), is_it)->absent;
}

}  // namespace

int64_t IntOf(const Node& node, const char* name) {
  return std::get<int64_t>(AttributeOf(node, name));
}
double RealOf(const Node& node, const char* name) {
  return std::get<double>(AttributeOf(node, name));
}
const std::string& TextOf(const Node& node, const char* name) {
  return std::get<std::string>(AttributeOf(node, name));
}

NodeCheck::NodeCheck(const std::string& where, const Node& node, std::vector<ValueInfo> inputs)
    : where_(where), node_(node), inputs_(std::move(inputs)) {}

void NodeCheck::Fail(const std::string& what) const { throw Error(where_ + ": " + what); }

int64_t NodeCheck::ExpectActivation(size_t i, size_t rank) const {
  const ValueInfo& value = inputs_[i];
  if (value.tensor || value.dtype != DType::kF32 || value.shape.size() != rank ||
      value.shape[0] != kTokens) {
    Fail("input " + Quoted(node_.inputs[i]) + ": expected an f32 activation of rank " +
         std::to_string(rank) + ", found " + (value.tensor ? "tensor " : "") +
         Info(value.dtype).name + " " + ToString(value.shape));
  }
  return value.shape.back();
}

void NodeCheck::ExpectVector(size_t i, int64_t length) const {
  const ValueInfo& value = inputs_[i];
  if (!value.tensor || value.dtype != DType::kF32 || value.shape != Shape{length}) {
    Fail("input " + Quoted(node_.inputs[i]) + ": expected tensor f32 " + ToString({length}) +
         ", found " + Info(value.dtype).name + " " + ToString(value.shape));
  }
}

NodeCheck::Routing NodeCheck::ExpectRouting(size_t i) const {
  const ValueInfo& value = inputs_[i];
  if (value.n_experts == 0) {
    Fail("input " + Quoted(node_.inputs[i]) + ": expected the output of an op 'route', found " +
         Info(value.dtype).name + " " + ToString(value.shape));
  }
  return {value.shape[1] / 2, value.n_experts};
}

void NodeCheck::ExpectInput(size_t i, const char* name) const {
  if (node_.inputs[i] != name) {
    Fail("input " + std::to_string(i) + ": expected " + Quoted(name) + ", found " +
         Quoted(node_.inputs[i]));
  }
}

void CheckNode(const std::string& where, const Node& node, const FindTensor& find_tensor,
               std::map<std::string, ValueInfo>* values) {
  const std::string place = NodePlace(where, node);
  const Op* op = FindOp(node.op);
  if (!op) throw Error(place + ": unknown op; this version of glint does not have it");
  if (node.inputs.size() < op->min_inputs || node.inputs.size() > op->max_inputs ||
      node.outputs.size() != op->n_outputs) {
    throw Error(place + ": expected " + std::to_string(op->min_inputs) + " to " +
                std::to_string(op->max_inputs) + " inputs and " + std::to_string(op->n_outputs) +
                " outputs, found " + std::to_string(node.inputs.size()) + " and " +
                std::to_string(node.outputs.size()));
  }
  CheckAttributes(place, *op, node);

  std::vector<ValueInfo> inputs;
  for (const std::string& name : node.inputs) {
    const auto known = values->find(name);
    if (known != values->end()) {
      inputs.push_back(known->second);
      continue;
    }
    if (FindGraphInput(name)) {
      throw Error(place + ": graph input " + Quoted(name) + " is not in the graph's list of inputs");
    }
    const Tensor* tensor = find_tensor(name);
    if (!tensor) throw Error(place + ": input " + Quoted(name) + " does not exist");
    inputs.push_back({tensor->dtype, Shape(tensor->shape.begin(), tensor->shape.end()), tensor});
  }
  NodeCheck check(place, node, std::move(inputs));
  op->infer(check);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    // Or it could stand in for an input that the graph does not list.
    if (FindGraphInput(node.outputs[i])) {
      throw Error(place + ": output " + Quoted(node.outputs[i]) + " has the name of a graph input");
    }
    if (!values->emplace(node.outputs[i], check.outputs()[i]).second) {
      throw Error(place + ": output " + Quoted(node.outputs[i]) + " exists already");
    }
  }
}

std::map<std::string, ValueInfo> CheckGraph(const std::string& where, const Graph& graph,
                                            const FindTensor& find_tensor) {
  std::map<std::string, ValueInfo> values;
  for (const std::string& name : graph.inputs) {
    const GraphInput* input = FindGraphInput(name);
    if (!input) throw Error(where + ": unknown graph input " + Quoted(name));
    values[name] = {DType::kI32, input->shape, nullptr};
  }
  for (const Node& node : graph.nodes) CheckNode(where, node, find_tensor, &values);
  for (const std::string& name : graph.outputs) {
    const auto found = values.find(name);
    if (found == values.end() || found->second.shape.size() != 2) {
      throw Error(where + ": output " + Quoted(name) + ": expected an activation of rank 2");
    }
  }
  return values;
}

}  // namespace glint
