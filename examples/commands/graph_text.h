#pragma once
#include <string>

#include "lib/graph.h"
#include "lib/ops/ops.h"
#include "lib/plan.h"

namespace glint {

// A graph as a person reads it: one line per node, repeated layers said once. `where` begins the
// message of the Error that a wrong graph throws.
std::string DescribeGraph(const std::string& where, const Graph& graph, const FindTensor& find);

// The steps that a plan makes of its graph: which ops are done together, where all tokens wait.
std::string DescribePlan(const Plan& plan, const FindTensor& find);

}  // namespace glint
