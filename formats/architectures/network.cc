#include "formats/architectures/network.h"

#include "lib/error.h"

namespace glint {
namespace {

constexpr char kFrequencies[] = "rope.inv_freq";

}  // namespace

Network::Network(std::vector<std::string> inputs, const std::vector<Tensor>& tensors,
                 std::string where)
    : inputs_(inputs) {
  graph_.emplace("main", std::move(inputs), tensors, std::move(where));
}

void Network::BeginLayer(uint64_t i, std::string source) {
  const std::string layer = "layer." + std::to_string(i);
  layer_ = i;
  prefix_ = layer + ".";
  source_prefix_ = std::move(source);
  if (graph_) graph_->SetPrefix(layer);
}

void Network::EndLayers() {
  prefix_ = source_prefix_ = "";
  if (graph_) graph_->SetPrefix("");
}

void Network::ListTensor(const std::string& name, const std::vector<ImportSource>& sources,
                         const char* ending, uint64_t width, Role role, float plus) {
  if (graph_) return;
  ImportTensor tensor{name, sources, {0}, role};
  for (ImportSource& source : tensor.sources) {
    source.name = source_prefix_ + source.name + ending;
    tensor.shape[0] += source.rows;
  }
  if (role != Role::kVector) tensor.shape.push_back(width);
  tensor.plus = plus;
  tensors_.push_back(std::move(tensor));
}

Network::Value Network::Embedding(const std::string& source, uint64_t rows, uint64_t dim) {
  ListTensor("embedding", {{source, rows}}, ".weight", dim, Role::kVocabulary);
  if (!graph_) return {"", dim};
  return Made(graph_->Embedding(graph_->Input("ids"), "embedding"), dim);
}

Network::Value Network::LayerNorm(Value x, const std::string& word, const std::string& source,
                                  double eps) {
  const std::string name = prefix_ + word;
  ListTensor(name + ".weight", {{source, x.width}}, ".weight", 0, Role::kVector);
  ListTensor(name + ".bias", {{source, x.width}}, ".bias", 0, Role::kVector);
  if (!graph_) return x;
  return Made(graph_->LayerNorm({x.name}, name + ".weight", name + ".bias", eps), x.width);
}

Network::Value Network::RmsNorm(Value x, const std::string& word, const std::string& source,
                                double eps, float plus) {
  const std::string name = prefix_ + word + ".weight";
  ListTensor(name, {{source, x.width}}, ".weight", 0, Role::kVector, plus);
  if (!graph_) return x;
  return Made(graph_->RmsNorm({x.name}, name, eps), x.width);
}

Network::Value Network::Linear(Value x, const std::string& word,
                               const std::vector<ImportSource>& sources, bool bias) {
  const std::string name = prefix_ + word;
  ListTensor(name + ".weight", sources, ".weight", x.width, Role::kMatrix);
  if (bias) ListTensor(name + ".bias", sources, ".bias", 0, Role::kVector);
  uint64_t rows = 0;
  for (const ImportSource& source : sources) rows += source.rows;
  if (!graph_) return {"", rows};
  return Made(graph_->Linear({x.name}, name + ".weight", bias ? name + ".bias" : "", word.c_str()),
              rows);
}

Network::Value Network::SmallLinear(Value x, const char* word, const std::string& source,
                                    uint64_t rows) {
  const std::string name = prefix_ + word + ".weight";
  ListTensor(name, {{source, rows}}, ".weight", x.width, Role::kSmall);
  return graph_ ? Made(graph_->Linear({x.name}, name, "", word), rows) : Value{"", rows};
}

Network::Value Network::Route(Value logits, uint64_t top_k, bool normalize) {
  if (!graph_) return {"", 2 * top_k};
  return Made(graph_->Route({logits.name}, static_cast<int64_t>(top_k), normalize), 2 * top_k);
}

Network::Value Network::RoutedLinear(Value x, Value routing, const std::string& word,
                                     const std::vector<ImportSource>& sources, uint64_t top_k) {
  const uint64_t rows = sources[0].rows;
  // x is one row for all of a token's experts, or a part for each.
  const bool is_parts = x.parts == top_k && top_k != 1;
  std::vector<std::string> names;
  for (size_t e = 0; e < sources.size(); ++e) {
    names.push_back(prefix_ + word + "." + std::to_string(e) + ".weight");
    ListTensor(names.back(), {sources[e]}, ".weight", is_parts ? x.width / top_k : x.width,
               Role::kMatrix);
  }
  Value y{"", top_k * rows, top_k};
  if (graph_) y.name = graph_->RoutedLinear({x.name}, {routing.name}, names, word.c_str()).name;
  return y;
}

Network::Value Network::Combine(Value y, Value routing, uint64_t top_k) {
  if (!graph_) return {"", y.width / top_k};
  return Made(graph_->Combine({y.name}, {routing.name}), y.width / top_k);
}

Network::Value Network::Gate(Value x, Value logit) {
  return graph_ ? Made(graph_->Gate({x.name}, {logit.name}), x.width) : x;
}

Network::Value Network::Head(Value x, const std::string& source, uint64_t rows, bool tied) {
  ListTensor("lm_head", {{source, rows}}, ".weight", x.width, Role::kVocabulary);
  if (graph_) return Made(graph_->Linear({x.name}, "lm_head", "", "head"), rows);
  if (tied) tensors_.back().tied_to = "embedding";
  return {"", rows};
}

void Network::SetRope(RopeForm form) {
  rope_ = std::move(form);
  if (graph_) return;
  tensors_.push_back({kFrequencies, {}, {rope_.inv_freq.size()}, Role::kVector, rope_.inv_freq});
}

Network::Heads Network::SplitHeads(Value qkv, uint64_t heads) {
  GraphBuilder::Heads out;
  if (graph_) out = graph_->SplitHeads({qkv.name}, static_cast<int64_t>(heads), "per_head");
  return MadeHeads(out, qkv.width / (3 * heads), heads);
}

Network::Heads Network::SplitQkv(Value qkv, uint64_t heads, uint64_t kv_heads) {
  GraphBuilder::Heads out;
  if (graph_) {
    out = graph_->SplitQkv({qkv.name}, static_cast<int64_t>(heads), static_cast<int64_t>(kv_heads));
  }
  return MadeHeads(out, qkv.width / (heads + 2 * kv_heads), heads);
}

Network::Heads Network::MadeHeads(const GraphBuilder::Heads& made, uint64_t head_dim,
                                  uint64_t n) const {
  return {Made(made.q, head_dim), Made(made.k, head_dim), Made(made.v, head_dim), n};
}

Network::Heads Network::Rope(const Heads& heads) {
  if (!graph_) return heads;
  std::vector<GraphBuilder::Value> positions;
  for (const std::string& input : inputs_) {
    if (input.starts_with("position.")) positions.push_back(graph_->Input(input));
  }
  const RopeOptions options = {rope_.interleaved ? "interleaved" : "neox", rope_.scale,
                               static_cast<int64_t>(rope_.original_context), rope_.dynamic_factor};
  Heads turned = heads;
  for (Value* value : {&turned.q, &turned.k}) {
    *value = Made(graph_->Rope({value->name}, kFrequencies, positions, options), value->width);
  }
  return turned;
}

Network::Value Network::Attention(const Heads& heads, const char* mask, uint64_t window,
                                  double scale, double softcap) {
  const uint64_t width = heads.n * heads.q.width;
  if (!graph_) return {"", width};
  const GraphBuilder::Heads in = {{heads.q.name}, {heads.k.name}, {heads.v.name}};
  return Made(graph_->Attention(in, static_cast<int64_t>(layer_), mask,
                                {scale, softcap, static_cast<int64_t>(window)}),
              width);
}

Network::Value Network::Gelu(Value x) {
  return graph_ ? Made(graph_->Gelu({x.name}, "tanh"), x.width) : x;
}

Network::Value Network::Scale(Value x, double factor) {
  return graph_ ? Made(graph_->Scale({x.name}, factor), x.width) : x;
}

Network::Value Network::Softcap(Value x, double cap) {
  return graph_ ? Made(graph_->Softcap({x.name}, cap), x.width) : x;
}

Network::Value Network::Silu(Value x) {
  if (graph_) x.name = graph_->Silu({x.name}).name;
  return x;
}

Network::Value Network::Add(Value a, Value b, double alpha) {
  return graph_ ? Made(graph_->AddScaled({a.name}, alpha, {b.name}), a.width) : a;
}

Network::Value Network::Mul(Value a, Value b) {
  if (graph_) a.name = graph_->Mul({a.name}, {b.name}).name;
  return a;
}

Graph Network::Finish(Value output) {
  return graph_->Finish({output.name}, "logits");
}

void SetNetwork(std::vector<std::string> inputs, Description describe, ImportPlan* plan) {
  Network list;
  describe(list);
  plan->tensors = std::move(list.tensors());
  plan->build = [inputs = std::move(inputs), describe = std::move(describe)](
                    const std::vector<Tensor>& tensors, const std::string& where) {
    Network network(inputs, tensors, where);
    const Network::Value logits = describe(network);
    return network.Finish(logits);
  };
}

}  // namespace glint
