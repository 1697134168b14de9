#include "examples/commands/graph_text.h"

#include <map>

#include "examples/commands/console.h"
#include "lib/error.h"

namespace glint {
namespace {

using Values = std::map<std::string, ValueInfo>;

// Nodes that stand together under one name: "layer.3", or "" for those outside of all layers.
struct Block {
  std::string name;
  size_t begin = 0, end = 0;  // nodes
};

// "layer.3" of "layer.3.qkv"; "" of names that have no number in second place.
std::string LayerOf(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return "";
  size_t end = dot + 1;
  while (end < name.size() && name[end] >= '0' && name[end] <= '9') ++end;
  return end > dot + 1 && end < name.size() && name[end] == '.' ? name.substr(0, end) : "";
}

std::vector<Block> Blocks(const Graph& graph) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::string name = LayerOf(graph.nodes[i].outputs[0]);
    if (blocks.empty() || name != blocks.back().name) blocks.push_back({name, i, i});
    blocks.back().end = i + 1;
  }
  return blocks;
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

// How a value is written where it is used: a matrix with its type and shape, others by name.
std::string UseText(const std::string& name, const FindTensor& find) {
  const Tensor* tensor = find(name);
  if (!tensor || !tensor->IsMatrix()) return name;
  return name + " " + Info(tensor->dtype).name + " " +
         ToString(Shape(tensor->shape.begin(), tensor->shape.end()));
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
  for (const std::string& input : node.inputs) {
    text += comma + UseText(input, find);
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
std::string Pattern(const Graph& graph, const Values& values, const FindTensor& find,
                    const Block& block) {
  if (block.name.empty()) return "";
  const std::string number = block.name.substr(block.name.find('.') + 1);
  const std::string before = block.begin == 0 ? "" : graph.nodes[block.begin - 1].outputs.back();
  std::string pattern;
  for (size_t i = block.begin; i < block.end; ++i) {
    const std::string text = "\n " + NodeText(graph.nodes[i], values, find) + "\n";
    pattern += Replaced(text, "layer=" + number + ",", "layer=\x01,");
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

std::string List(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string DescribeGraph(const std::string& where, const Graph& graph, const FindTensor& find) {
  const Values values = CheckGraph(where, graph, find);
  const std::vector<Block> blocks = Blocks(graph);
  std::string text =
      "graph " + graph.name + ": " + List(graph.inputs) + " -> " + List(graph.outputs) + "\n";
  std::string last;
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t n = blocks[i].begin; n < blocks[i].end; ++n) {
      text += "  " + NodeText(graph.nodes[n], values, find) + "\n";
    }
    const std::string pattern = Pattern(graph, values, find, blocks[i]);
    size_t end = i + 1;
    while (!pattern.empty() && end < blocks.size() &&
           Pattern(graph, values, find, blocks[end]) == pattern) {
      ++end;
    }
    if (end == i + 1) continue;
    text += end == i + 2 ? "  (" + blocks[i + 1].name + " is like " + blocks[i].name + ")\n"
                         : "  (" + blocks[i + 1].name + " to " + blocks[end - 1].name +
                               " are like " + blocks[i].name + ")\n";
    i = end - 1;
  }
  return text;
}

}  // namespace glint
