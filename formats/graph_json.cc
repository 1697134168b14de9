#include "formats/graph_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using nlohmann::json;

// Far above any real model; they keep what a small file can make us do small.
constexpr size_t kMaxNodes = 1 << 17;
constexpr size_t kMaxPorts = 4096;  // inputs or outputs of one node, or of the graph
constexpr size_t kMaxAttributes = 64;
constexpr size_t kMaxList = 1 << 16;
constexpr size_t kMaxText = 4096;  // bytes of a string attribute
constexpr size_t kMaxName = 255;

constexpr const char* kGraphKeys[] = {"name", "inputs", "outputs", "nodes", nullptr};
constexpr const char* kNodeKeys[] = {"op", "inputs", "outputs", "attributes", nullptr};

void CheckCount(size_t count, size_t limit, const char* what, const std::string& where) {
  if (count <= limit) return;
  throw Error(where + ": " + std::to_string(count) + " " + what + ", at most " +
              std::to_string(limit) + " allowed");
}

bool FitsInt64(const json& value) {
  if (!value.is_number_integer()) return false;
  if (!value.is_number_unsigned()) return true;
  return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

std::vector<std::string> ParseNames(const json& object, const char* key, const std::string& where) {
  const json& array = GetArray(object, key, where);
  CheckCount(array.size(), kMaxPorts, key, where);
  std::vector<std::string> names;
  for (const json& name : array) {
    if (!name.is_string()) {
      throw Error(where + ": '" + key + "': expected names, got " + name.type_name());
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

Attribute ParseAttribute(const json& value, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return value.get<double>();
  if (FitsInt64(value)) return value.get<int64_t>();
  if (value.is_array()) {
    CheckCount(value.size(), kMaxList, "elements", where);
    std::vector<int64_t> list;
    for (const json& element : value) {
      if (!FitsInt64(element)) throw Error(where + ": expected a list of 64-bit integers");
      list.push_back(element.get<int64_t>());
    }
    return list;
  }
  throw Error(where +
              ": expected a 64-bit integer, a number, a string or a list of integers, got " +
              (value.is_number() ? value.dump() : value.type_name()));
}

std::string NodeWhere(const std::string& where, size_t index) {
  return where + ": node " + std::to_string(index);
}

Node ParseNode(const json& object, const std::string& where) {
  CheckKeys(object, kNodeKeys, where);
  Node node;
  node.op = GetString(object, "op", where);
  node.inputs = ParseNames(object, "inputs", where);
  node.outputs = ParseNames(object, "outputs", where);
  if (object.contains("attributes")) {
    const json& attributes = GetObject(object, "attributes", where);
    CheckCount(attributes.size(), kMaxAttributes, "attributes", where);
    for (const auto& [key, value] : attributes.items()) {
      node.attributes[key] = ParseAttribute(value, where + ": attribute " + Quoted(key));
    }
  }
  return node;
}

std::string AttributeText(const Attribute& attribute, const std::string& where) {
  if (const double* number = std::get_if<double>(&attribute)) {
    if (!std::isfinite(*number)) throw Error(where + ": a number that is not finite");
    // dump() writes the shortest text that reads back as the same double, always with a point or an
    // exponent, so it stays a double.
    return json(*number).dump();
  }
  return std::visit([](const auto& value) { return json(value).dump(); }, attribute);
}

std::string NodeText(const Node& node, const std::string& where) {
  std::string text = "{\"op\": " + json(node.op).dump() +
                     ", \"inputs\": " + json(node.inputs).dump() +
                     ", \"outputs\": " + json(node.outputs).dump();
  const char* separator = ", \"attributes\": {";
  for (const auto& [key, value] : node.attributes) {
    text += separator + json(key).dump() + ": " +
            AttributeText(value, where + ": attribute " + Quoted(key));
    separator = ", ";
  }
  return text + (node.attributes.empty() ? "}" : "}}");
}

void CheckAttributes(const Node& node, const std::string& where) {
  CheckCount(node.attributes.size(), kMaxAttributes, "attributes", where);
  for (const auto& [key, value] : node.attributes) {
    CheckName(key, "an attribute", where);
    const std::string at = where + ": attribute " + Quoted(key);
    if (const auto* text = std::get_if<std::string>(&value)) {
      CheckCount(text->size(), kMaxText, "bytes", at);
    } else if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
      CheckCount(list->size(), kMaxList, "elements", at);
    }
  }
}

// Names of values made so far in one graph, beside the tensors of the file.
class Values {
 public:
  explicit Values(const std::function<bool(std::string_view)>& is_tensor) : is_tensor_(is_tensor) {}

  void Define(std::string_view name, const char* what, const std::string& where) {
    CheckName(name, what, where);
    if (is_tensor_(name))
      throw Error(where + ": " + what + " has the name of a tensor: " + Quoted(name));
    if (!values_.insert(name).second) {
      throw Error(where + ": the value " + Quoted(name) + " is made twice");
    }
  }
  bool IsMade(std::string_view name) const { return values_.count(name) != 0; }
  bool IsKnown(std::string_view name) const { return IsMade(name) || is_tensor_(name); }

 private:
  const std::function<bool(std::string_view)>& is_tensor_;
  std::set<std::string_view> values_;
};

}  // namespace

void CheckName(std::string_view name, const char* what, const std::string& where) {
  const bool is_printable =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F; });
  if (!name.empty() && name.size() <= kMaxName && is_printable) return;
  throw Error(where + ": the name of " + what + " must be 1 to " + std::to_string(kMaxName) +
              " bytes of printable ASCII without space, got " + Quoted(name));
}

void CheckKeys(const json& object, const char* const* known, const std::string& where) {
  if (!object.is_object()) {
    throw Error(where + ": expected an object, got " + object.type_name());
  }
  for (const auto& [key, value] : object.items()) {
    const char* const* at = known;
    while (*at && key != *at) ++at;
    if (!*at) throw Error(where + ": unknown key " + Quoted(key));
  }
}

Graph ParseGraph(const json& object, const std::string& where) {
  CheckKeys(object, kGraphKeys, where);
  Graph graph;
  graph.name = GetString(object, "name", where);
  const std::string at = where + " " + Quoted(graph.name);
  graph.inputs = ParseNames(object, "inputs", at);
  graph.outputs = ParseNames(object, "outputs", at);
  const json& nodes = GetArray(object, "nodes", at);
  CheckCount(nodes.size(), kMaxNodes, "nodes", at);
  graph.nodes.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    graph.nodes.push_back(ParseNode(nodes[i], NodeWhere(at, i)));
  }
  return graph;
}

std::string GraphText(const Graph& graph, const std::string& where) {
  const std::string at = where + " " + Quoted(graph.name);
  std::string text = "{\"name\": " + json(graph.name).dump() +
                     ", \"inputs\": " + json(graph.inputs).dump() +
                     ", \"outputs\": " + json(graph.outputs).dump() + ", \"nodes\": [";
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    text += (i ? ",\n" : "\n") + NodeText(graph.nodes[i], NodeWhere(at, i));
  }
  return text + "]}";
}

void CheckGraph(const Graph& graph, const std::function<bool(std::string_view)>& is_tensor,
                const std::string& where) {
  CheckName(graph.name, "a graph", where);
  const std::string at = where + " " + Quoted(graph.name);
  Values values(is_tensor);
  CheckCount(graph.inputs.size(), kMaxPorts, "inputs", at);
  for (const std::string& name : graph.inputs) values.Define(name, "a graph input", at);
  CheckCount(graph.nodes.size(), kMaxNodes, "nodes", at);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const std::string here = NodeWhere(at, i) + " (" + Quoted(node.op) + ")";
    CheckName(node.op, "an op", here);
    CheckCount(node.inputs.size(), kMaxPorts, "inputs", here);
    CheckCount(node.outputs.size(), kMaxPorts, "outputs", here);
    if (node.outputs.empty()) throw Error(here + ": has no output");
    for (const std::string& name : node.inputs) {
      if (values.IsKnown(name)) continue;
      throw Error(here + ": input " + Quoted(name) +
                  " is no graph input, no tensor and no output of an earlier node");
    }
    for (const std::string& name : node.outputs) values.Define(name, "an output", here);
    CheckAttributes(node, here);
  }
  CheckCount(graph.outputs.size(), kMaxPorts, "outputs", at);
  if (graph.outputs.empty()) throw Error(at + ": has no output");
  const std::set<std::string_view> inputs(graph.inputs.begin(), graph.inputs.end());
  std::set<std::string_view> seen;
  for (const std::string& name : graph.outputs) {
    if (!values.IsMade(name) || inputs.count(name)) {
      throw Error(at + ": output " + Quoted(name) + " is made by no node");
    }
    if (!seen.insert(name).second)
      throw Error(at + ": output " + Quoted(name) + " is listed twice");
  }
}

}  // namespace glint
