#include "lib/builder.h"

#include <algorithm>

#include "lib/error.h"

namespace glint {
namespace {

constexpr char kColumns[] = ".columns";

bool IsAbsentValue(const char* op, const std::string& name, const Attribute& value) {
  for (const AttributeSpec& spec : FindOp(op)->attributes) {
    if (name == spec.name) return spec.absent == value;
  }
  return false;
}

}  // namespace

GraphBuilder::GraphBuilder(std::string name, std::vector<std::string> inputs,
                           const std::vector<Tensor>& tensors, std::string where)
    : where_(std::move(where)) {
  graph_.name = std::move(name);
  graph_.inputs = std::move(inputs);
  for (const Tensor& tensor : tensors) tensors_[tensor.name] = &tensor;
  values_ = CheckGraph(where_, graph_, {});  // no nodes yet: the inputs
}

GraphBuilder::Value GraphBuilder::Input(const std::string& name) const {
  if (std::find(graph_.inputs.begin(), graph_.inputs.end(), name) == graph_.inputs.end()) {
    throw Error(where_ + ": " + Quoted(name) + " is not an input of the graph");
  }
  return {name};
}

std::vector<GraphBuilder::Value> GraphBuilder::Append(const char* op,
                                                      std::vector<std::string> inputs,
                                                      std::vector<const char*> outputs,
                                                      std::map<std::string, Attribute> attributes) {
  Node node;
  node.op = op;
  node.inputs = std::move(inputs);
  for (auto& [key, value] : attributes) {
    if (!IsAbsentValue(op, key, value)) node.attributes[key] = std::move(value);
  }
  std::vector<Value> values;
  for (const char* word : outputs) {
    // A word that recurs in a layer is numbered from its second use on.
    const std::string base = prefix_.empty() ? word : prefix_ + "." + word;
    std::string name = base;
    for (int i = 2; values_.count(name) != 0; ++i) name = base + std::to_string(i);
    node.outputs.push_back(name);
    values.push_back({name});
  }
  const FindTensor find = [this](const std::string& name) {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : found->second;
  };
  CheckNode(where_, node, find, &values_);
  graph_.nodes.push_back(std::move(node));
  return values;
}

GraphBuilder::Value GraphBuilder::AppendOne(const char* op, const char* output,
                                            std::vector<std::string> inputs,
                                            std::map<std::string, Attribute> attributes) {
  return Append(op, std::move(inputs), {output}, std::move(attributes))[0];
}

GraphBuilder::Value GraphBuilder::Embedding(Value ids, const std::string& weight) {
  if (tensors_.count(weight + kColumns) != 0) {
    throw Error(where_ + ": tensor " + Quoted(weight) +
                ": an embedding's columns cannot be in another order");
  }
  return AppendOne("embedding", "embedded", {ids.name, weight});
}

GraphBuilder::Value GraphBuilder::Gathered(Value x, const std::string& weight) {
  const auto found = tensors_.find(weight + kColumns);
  if (found == tensors_.end()) return x;
  const Tensor* columns = found->second;
  for (const Gather& gather : gathers_) {
    const bool same = gather.columns == columns ||
                      (columns->data && columns->data == gather.columns->data);
    if (same && gather.x == x.name) return gather.y;
  }
  const Value y = AppendOne("gather", "gathered", {x.name, columns->name});
  gathers_.push_back({x.name, columns, y});
  return y;
}

GraphBuilder::Value GraphBuilder::Linear(Value x, const std::string& weight,
                                         const std::string& bias, const char* word) {
  std::vector<std::string> inputs = {Gathered(x, weight).name, weight};
  if (!bias.empty()) inputs.push_back(bias);
  return AppendOne("linear", word, std::move(inputs));
}

GraphBuilder::Value GraphBuilder::LayerNorm(Value x, const std::string& weight,
                                            const std::string& bias, double eps) {
  return AppendOne("layer_norm", "norm", {x.name, weight, bias}, {{"eps", eps}});
}

GraphBuilder::Value GraphBuilder::RmsNorm(Value x, const std::string& weight, double eps) {
  return AppendOne("rms_norm", "norm", {x.name, weight}, {{"eps", eps}});
}

GraphBuilder::Heads GraphBuilder::SplitHeads(Value qkv, int64_t heads,
                                             const std::string& layout) {
  const std::vector<Value> out =
      Append("split_heads", {qkv.name}, {"q", "k", "v"},
             {{"heads", heads}, {"layout", layout}});
  return {out[0], out[1], out[2]};
}

GraphBuilder::Heads GraphBuilder::SplitQkv(Value qkv, int64_t heads, int64_t kv_heads) {
  const std::vector<Value> out = Append("split_qkv", {qkv.name}, {"q", "k", "v"},
                                        {{"heads", heads}, {"kv_heads", kv_heads}});
  return {out[0], out[1], out[2]};
}

GraphBuilder::Value GraphBuilder::Rope(Value x, const std::string& inv_freq,
                                       std::vector<Value> positions,
                                       const RopeOptions& options) {
  std::vector<std::string> inputs = {x.name, inv_freq};
  for (const Value& position : positions) inputs.push_back(position.name);
  return AppendOne("rope", "rope", std::move(inputs),
                   {{"style", options.style},
                    {"scale", options.scale},
                    {"original_context", options.original_context},
                    {"dynamic_factor", options.dynamic_factor}});
}

GraphBuilder::Value GraphBuilder::Attention(const Heads& heads, int64_t layer,
                                            const std::string& mask,
                                            const AttentionOptions& options) {
  std::vector<std::string> inputs = {heads.q.name, heads.k.name, heads.v.name, "cache_index"};
  if (mask == "prefix") inputs.push_back("prefix_len");
  return AppendOne("attention", "attention", std::move(inputs),
                   {{"layer", layer},
                    {"mask", mask},
                    {"window", options.window},
                    {"scale", options.scale},
                    {"softcap", options.softcap}});
}

GraphBuilder::Value GraphBuilder::Gelu(Value x, const std::string& approximation) {
  return AppendOne("gelu", "gelu", {x.name}, {{"approximation", approximation}});
}

GraphBuilder::Value GraphBuilder::Silu(Value x) { return AppendOne("silu", "silu", {x.name}); }

GraphBuilder::Value GraphBuilder::Scale(Value x, double factor) {
  return AppendOne("scale", "scaled", {x.name}, {{"factor", factor}});
}

GraphBuilder::Value GraphBuilder::Softcap(Value x, double cap) {
  return AppendOne("softcap", "softcap", {x.name}, {{"cap", cap}});
}

GraphBuilder::Value GraphBuilder::AddScaled(Value a, double alpha, Value b) {
  return AppendOne("add", "add", {a.name, b.name}, {{"alpha", alpha}});
}

GraphBuilder::Value GraphBuilder::Mul(Value a, Value b) {
  return AppendOne("mul", "mul", {a.name, b.name});
}

GraphBuilder::Value GraphBuilder::Route(Value logits, int64_t top_k, bool normalize) {
  return AppendOne("route", "routing", {logits.name},
                   {{"top_k", top_k}, {"normalize", int64_t{normalize}}});
}

GraphBuilder::Value GraphBuilder::RoutedLinear(Value x, Value routing,
                                               const std::vector<std::string>& weights,
                                               const char* word) {
  std::vector<std::string> inputs = {x.name, routing.name};
  for (const std::string& weight : weights) {
    if (tensors_.count(weight + kColumns) != 0) {
      throw Error(where_ + ": tensor " + Quoted(weight) +
                  ": an expert's columns cannot be in another order");
    }
    inputs.push_back(weight);
  }
  return AppendOne("routed_linear", word, std::move(inputs));
}

GraphBuilder::Value GraphBuilder::Combine(Value y, Value routing) {
  return AppendOne("combine", "combined", {y.name, routing.name});
}

GraphBuilder::Value GraphBuilder::Gate(Value x, Value logit) {
  return AppendOne("gate", "gated", {x.name, logit.name});
}

Graph GraphBuilder::Finish(Value output, const std::string& name) {
  Node& last = graph_.nodes.back();
  if (last.outputs != std::vector<std::string>{output.name} || values_.count(name) != 0) {
    throw Error(where_ + ": only the last node's output can become " + Quoted(name));
  }
  last.outputs = {name};
  graph_.outputs = {name};
  return std::move(graph_);
}

}  // namespace glint
