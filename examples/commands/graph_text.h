#pragma once
#include <string>

#include "lib/graph.h"
#include "lib/ops/ops.h"

namespace glint {

// A graph as a person reads it: one line per node, repeated layers said once. `where` begins the
// message of the Error that a wrong graph throws.
std::string DescribeGraph(const std::string& where, const Graph& graph, const FindTensor& find);

}  // namespace glint
