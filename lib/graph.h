#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "quant/dtype.h"

namespace glint {

// A dimension: a count, or kTokens for the number of tokens of a run.
inline constexpr int64_t kTokens = -1;
using Shape = std::vector<int64_t>;  // outermost first

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;

// One operation. `op` names a row of the op table (lib/ops/ops.h).
struct Node {
  std::string op;
  std::vector<std::string> inputs;   // names of values
  std::vector<std::string> outputs;  // names of values, each made by exactly one node
  std::map<std::string, Attribute> attributes;
};

// A graph as the file holds it: plain data. A value is a graph input, a tensor of the file, or the
// output of an earlier node; a name means only one of them. Shapes are not stored, they are inferred.
struct Graph {
  std::string name;                  // "main"
  std::vector<std::string> inputs;   // from the closed list of lib/ops/ops.h: "ids", "position.0", ...
  std::vector<std::string> outputs;  // "logits"
  std::vector<Node> nodes;           // in execution order
};

}  // namespace glint
