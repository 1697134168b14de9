#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/graph.h"
#include "lib/tensor.h"

// The table of ops: what the runtime knows of models. Each row says which attributes an op takes, how it
// checks its inputs and infers its outputs' shapes, what the planner has to prepare for it, and how
// it runs. Ops are documented at their rows in lib/ops/.
namespace glint {

struct Step;         // lib/plan.h
struct StepContext;  // lib/plan.h
class PlanBuilder;   // lib/plan.cc

// A node has at most 4096 inputs (formats/graph_json.cc), an op routed_linear two more than experts.
inline constexpr int64_t kMaxExperts = 4094;
inline constexpr int64_t kMaxTopK = 64;

// A value while its graph is being checked.
struct ValueInfo {
  DType dtype = DType::kF32;
  Shape shape;
  const Tensor* tensor = nullptr;  // set if the value is a tensor of the file; its data may be null
  int64_t n_experts = 0;  // a routing (op route): how many experts it chooses among; else 0
};

struct AttributeSpec {
  enum class Type : uint8_t { kInt, kReal, kText };
  const char* name;
  Type type;
  double low = 0, high = 0;             // numbers: the range allowed
  std::vector<const char*> choices{};   // texts: the values allowed
  // The value that holds where a node does not have the attribute; without one it must.
  std::optional<Attribute> absent{};
};

// An attribute of a node that has been checked (CheckNode), or what holds in its absence.
int64_t IntOf(const Node& node, const char* name);
double RealOf(const Node& node, const char* name);
const std::string& TextOf(const Node& node, const char* name);

// What an op's `infer` works on: one node, its attributes known to be those of the op's list, its
// inputs known to exist. Fail() throws Error naming file, graph, node and op.
class NodeCheck {
 public:
  NodeCheck(const std::string& where, const Node& node, std::vector<ValueInfo> inputs);

  const ValueInfo& Input(size_t i) const { return inputs_[i]; }
  size_t n_inputs() const { return inputs_.size(); }
  int64_t Int(const char* name) const { return IntOf(node_, name); }
  double Real(const char* name) const { return RealOf(node_, name); }
  const std::string& Text(const char* name) const { return TextOf(node_, name); }

  // Throws unless input i is an f32 activation (kTokens, ...) of this rank; returns its last dimension.
  int64_t ExpectActivation(size_t i, size_t rank) const;
  // Throws unless input i is a plain f32 tensor of this length.
  void ExpectVector(size_t i, int64_t length) const;
  // Throws unless input i is the named graph input.
  void ExpectInput(size_t i, const char* name) const;
  // Throws unless input i was made by op route.
  struct Routing {
    int64_t top_k, n_experts;
  };
  Routing ExpectRouting(size_t i) const;
  void Output(Shape shape) { outputs_.push_back({DType::kF32, std::move(shape), nullptr}); }
  void OutputRouting(Routing routing) {
    outputs_.push_back({DType::kF32, {kTokens, 2 * routing.top_k}, nullptr, routing.n_experts});
  }

  [[noreturn]] void Fail(const std::string& what) const;
  const std::vector<ValueInfo>& outputs() const { return outputs_; }

 private:
  std::string where_;
  const Node& node_;
  std::vector<ValueInfo> inputs_;
  std::vector<ValueInfo> outputs_;
};

using StepRun = void (*)(const StepContext& context, const Step& step);

struct Op {
  const char* name;
  size_t min_inputs, max_inputs, n_outputs;
  // A value that holds in an attribute's absence is part of the file format (docs/FORMAT.md, section 6)
  // and never changes.
  std::vector<AttributeSpec> attributes;
  void (*infer)(NodeCheck& check);        // throws Error
  void (*plan)(PlanBuilder& builder, const Node& node);  // appends the node's steps
  // Of the inputs, the matrices that activations are multiplied by: `most` at most, from `first` on.
  struct Weights {
    size_t first = 0, most = 0;
  } weights{};
};

extern const std::vector<Op> kOps;
const Op* FindOp(const std::string& name);  // null if there is none

// The names of the matrices that a node of a known op multiplies activations by; its input 0 is what
// they meet. Empty if its op does no such thing.
std::span<const std::string> WeightsOf(const Node& node);

// The closed list of graph inputs.
struct GraphInput {
  const char* name;
  Shape shape;  // all are i32
};
enum class InputId : uint8_t { kIds, kPosition0, kPosition1, kCacheIndex, kPrefixLen };
extern const std::vector<GraphInput> kGraphInputs;  // in the order of InputId

// The place among the nodes of the linear op that makes the graph's output, or makes what ops of one
// input (softcap, scale) turn into it; the number of nodes if there is none.
size_t FindHead(const Graph& graph);

using FindTensor = std::function<const Tensor*(const std::string& name)>;

// Checks one node against its op and infers its outputs. `values` holds every value known so far; the
// node's outputs are added. `where` begins each message. Throws Error.
void CheckNode(const std::string& where, const Node& node, const FindTensor& find_tensor,
               std::map<std::string, ValueInfo>* values);

// Checks a whole graph; returns every value of it. Throws Error.
std::map<std::string, ValueInfo> CheckGraph(const std::string& where, const Graph& graph,
                                            const FindTensor& find_tensor);

// "(n_tokens, 4096)"
std::string ToString(const Shape& shape);

}  // namespace glint
