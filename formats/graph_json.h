#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "lib/graph.h"

namespace glint {

// One graph as the header of a .glint file writes it. Both directions keep every value exactly: an
// attribute written with a point or an exponent is a double, one without is an integer.
// `where` ("model.glint: graph") and the graph's name begin each message. Throws Error.
Graph ParseGraph(const nlohmann::json& json, const std::string& where);

// The JSON of a checked graph, one node per line so that a person can read it.
std::string GraphText(const Graph& graph, const std::string& where);

// What holds for every graph, whatever the ops: each name is made once, before it is used. Ops,
// attributes and shapes are the op table's affair (lib/ops).
void CheckGraph(const Graph& graph, const std::function<bool(std::string_view)>& is_tensor,
                const std::string& where);

// Throws unless `name` may name a value, a tensor or a graph: 1 to 255 bytes of printable ASCII
// without space, so that every message and every command line can carry it.
void CheckName(std::string_view name, const char* what, const std::string& where);

// Throws if `object` is no object or has a key that is not in the null-terminated list `known`. A
// key that was skipped could change what the model computes.
void CheckKeys(const nlohmann::json& object, const char* const* known, const std::string& where);

}  // namespace glint
