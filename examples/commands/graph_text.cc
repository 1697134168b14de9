#include "examples/commands/graph_text.h"

#include <map>
#include <vector>

#include "examples/commands/console.h"
#include "lib/error.h"

namespace glint {
namespace {

using Values = std::map<std::string, ValueInfo>;

// Lines that stand together under one name: "layer.3", or "" for those outside of all layers.
struct Block {
  std::string name;
  std::vector<std::string> lines;
  std::string last;  // value that the block makes last
};

// "layer.3" of "layer.3.qkv"; "" of names that have no number in second place.
std::string LayerOf(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return "";
  size_t end = dot + 1;
  while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
  return end > dot + 1 && end < name.size() && name[end] == '.' ? name.substr(0, end) : "";
}

// Adds a line that makes `value` to the block that it belongs to.
void AddLine(const std::string& value, const std::string& line, std::vector<Block>* blocks) {
  const std::string name = LayerOf(value);
  if (blocks->empty() || name != blocks->back().name) blocks->push_back({name, {}, ""});
  blocks->back().lines.push_back(line);
  blocks->back().last = value;
}

std::string AttributeText(const Attribute& attribute) {
  if (const auto* whole = std::get_if<int64_t>(&attribute)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&attribute)) return Format("%.9g", *real);
  if (const auto* text = std::get_if<std::string>(&attribute)) return OneLine(*text);
  std::string list;
  for (const int64_t n : std::get<std::vector<int64_t>>(attribute)) {
    list += (list.empty() ? "" : ",") + std::to_string(n);
  }
  return "[" + list + "]";
}

std::string List(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// How a value is written where it is used: a matrix with its type and shape, others by name.
std::string UseText(const std::string& name, const FindTensor& find) {
  const Tensor* tensor = find(name);
  if (!tensor || !tensor->IsMatrix()) return name;
  return name + " " + Info(tensor->dtype).name + " " +
         ToString(Shape(tensor->shape.begin(), tensor->shape.end()));
}

// What a node reads; experts' matrices of one type in a row are named by the first and the last.
std::vector<std::string> UseTexts(const Node& node, const FindTensor& find) {
  std::vector<std::string> texts;
  const std::vector<std::string>& inputs = node.inputs;
  const auto type_of = [&](size_t i) { return find(inputs[i])->dtype; };
  const bool has_experts = node.op == "routed_linear";
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool is_between = has_experts && i > 2 && i + 1 < inputs.size() &&
                            type_of(i - 1) == type_of(i) && type_of(i) == type_of(i + 1);
    if (!is_between) {
      texts.push_back(UseText(inputs[i], find));
    } else if (texts.back() != "...") {
      texts.push_back("...");
    }
  }
  return texts;
}

std::string NodeText(const Node& node, const Values& values, const FindTensor& find) {
  std::string text, shapes;
  for (const std::string& output : node.outputs) {
    text += (text.empty() ? "" : ", ") + output;
    const std::string shape = ToString(values.at(output).shape);
    if (shapes != shape) shapes += (shapes.empty() ? "" : ", ") + shape;
  }
  text += " = " + node.op + "(";
  const char* comma = "";
  for (const std::string& input : UseTexts(node, find)) {
    text += comma + input;
    comma = ", ";
  }
  for (const auto& [name, attribute] : node.attributes) {
    text += comma + name + "=" + AttributeText(attribute);
    comma = ", ";
  }
  return text + ") -> " + shapes;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The text of a block with its own name, its number and what comes from the block before taken out:
// equal for layers that are alike. No name of a graph holds a character of the replacements.
std::string Pattern(const Block& block, const std::string& before) {
  if (block.name.empty()) return "";
  const std::string number = block.name.substr(block.name.find('.') + 1);
  std::string pattern;
  for (const std::string& line : block.lines) {
    pattern += Replaced("\n " + line + "\n", "layer=" + number + ",", "layer=\x01,");
  }
  if (!before.empty()) {
    for (const char* end : {",", ")"}) {
      for (const char* begin : {"(", " "}) {
        pattern = Replaced(pattern, begin + before + end, std::string(begin) + "\x02" + end);
      }
    }
  }
  for (const char* begin : {"(", " "}) {
    pattern = Replaced(pattern, begin + block.name + ".", std::string(begin) + "\x03.");
  }
  return pattern;
}

// All blocks, those that repeat the one before said once.
std::string JoinBlocks(const std::vector<Block>& blocks) {
  const auto pattern = [&](size_t i) {
    return Pattern(blocks[i], i == 0 ? "" : blocks[i - 1].last);
  };
  std::string text;
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (const std::string& line : blocks[i].lines) text += "  " + line + "\n";
    const std::string first = pattern(i);
    size_t end = i + 1;
    while (!first.empty() && end < blocks.size() && pattern(end) == first) ++end;
    if (end == i + 1) continue;
    text += "  (" + blocks[i + 1].name;
    text += end == i + 2 ? " is" : " to " + blocks[end - 1].name + " are";
    text += " like " + blocks[i].name + ")\n";
    i = end - 1;
  }
  return text;
}

// One step of a plan: what it makes, its label, what it reads, and the weights.
std::string StepText(const Step& step, const FindTensor& find) {
  const Node& last = step.fused.empty() ? *step.node : *step.fused.back();
  // Steps that the plan adds to a node make no value of the graph.
  if (step.label == "quantize") return step.label + "(" + step.node->inputs[0] + ")";
  if (step.out.width == 0) {
    return step.label + "(" + step.node->inputs[1] + ", " + step.node->inputs[2] + ")";
  }
  std::string inputs, made;
  const auto add = [&](const Node& node) {
    for (const std::string& input : UseTexts(node, find)) {
      if (input != made) inputs += (inputs.empty() ? "" : ", ") + input;
    }
    made = node.outputs[0];
  };
  add(*step.node);
  for (const Node* node : step.fused) add(*node);
  return last.outputs[0] + " = " + step.label + "(" + inputs + ")";
}

}  // namespace

std::string DescribeGraph(const std::string& where, const Graph& graph, const FindTensor& find) {
  const Values values = CheckGraph(where, graph, find);
  std::vector<Block> blocks;
  for (const Node& node : graph.nodes) {
    AddLine(node.outputs[0], NodeText(node, values, find), &blocks);
    blocks.back().last = node.outputs.back();
  }
  return "graph " + graph.name + ": " + List(graph.inputs) + " -> " + List(graph.outputs) + "\n" +
         JoinBlocks(blocks);
}

std::string DescribePlan(const Plan& plan, const FindTensor& find) {
  std::vector<Block> blocks;
  uint32_t segment = 0;
  const bool whole = plan.options().max_rows == plan.options().context;
  const std::string cut = std::string("---- every token of the ") + (whole ? "prompt" : "chunk") +
                          " has come so far ----";
  for (const Step& step : plan.steps()) {
    const Node& last = step.fused.empty() ? *step.node : *step.fused.back();
    if (step.segment != segment) {
      AddLine(step.node->outputs[0], cut, &blocks);
      segment = step.segment;
    }
    AddLine(last.outputs[0], StepText(step, find), &blocks);
  }
  const PlanOptions& options = plan.options();
  return Format("plan: %zu steps, chunks of %zu tokens, context %zu, %.1f MiB of activations\n",
                plan.steps().size(), options.chunk, options.context,
                static_cast<double>(plan.arena_bytes()) / 1048576) +
         JoinBlocks(blocks);
}

}  // namespace glint
