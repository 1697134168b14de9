#pragma once
#include <optional>
#include <string>
#include <vector>

#include "formats/architectures/architecture.h"
#include "formats/architectures/rope.h"
#include "lib/builder.h"

namespace glint {

// How an architecture says what it is: one function that describes the way of a token through the
// network, with the checkpoint's names at the weights' places. The function runs twice. At first,
// to list the tensors that the checkpoint must have: their shapes follow from the widths of the
// values. Then, when their types are decided, to build the graph. So names, shapes and graph cannot
// disagree, and an architecture reads like its paper.
//
// In a layer, our names begin with "layer.N." and the checkpoint's with the layer's prefix. Every
// function throws Error where something does not fit.
class Network {
 public:
  struct Value {
    std::string name;    // empty while tensors are listed
    uint64_t width = 0;  // of a row; of heads: head_dim
    uint64_t parts = 1;  // of a row that lie side by side, one for each expert of a token
  };
  struct Heads {
    Value q, k, v;
    uint64_t n = 0;  // of q
  };

  Network() = default;  // lists tensors
  Network(std::vector<std::string> inputs, const std::vector<Tensor>& tensors, std::string where);

  // Our layer `i`; the checkpoint's names begin with `source`.
  void BeginLayer(uint64_t i, std::string source);
  void EndLayers();

  // Sources are given without ".weight" and ".bias". Our name of a weight is `word`, after which
  // the output is named, too.
  Value Embedding(const std::string& source, uint64_t rows, uint64_t dim);
  Value LayerNorm(Value x, const std::string& word, const std::string& source, double eps);
  // `plus` is added to the checkpoint's weights (Gemma stores them less 1).
  Value RmsNorm(Value x, const std::string& word, const std::string& source, double eps,
                float plus = 0);
  // A matrix of the rows of all sources.
  Value Linear(Value x, const std::string& word, const std::vector<ImportSource>& sources,
               bool bias = false);
  // A small matrix that decides much: kept in f32.
  Value SmallLinear(Value x, const char* word, const std::string& source, uint64_t rows);
  // Of experts, of which each token meets the top_k best: what Route gives is for the others.
  Value Route(Value logits, uint64_t top_k, bool normalize);
  // The products of the chosen experts' matrices side by side. `sources`: one for each expert.
  Value RoutedLinear(Value x, Value routing, const std::string& word,
                     const std::vector<ImportSource>& sources, uint64_t top_k);
  Value Combine(Value y, Value routing, uint64_t top_k);  // their weighted sum
  Value Gate(Value x, Value logit);                       // x * sigmoid(logit)
  // Makes the logits. `tied`: the checkpoint need not have it, then it is the embedding.
  Value Head(Value x, const std::string& source, uint64_t rows, bool tied);

  // The rotary embedding of all layers.
  void SetRope(RopeForm form);
  Heads SplitHeads(Value qkv, uint64_t heads);                   // per head: q, k, v
  Heads SplitQkv(Value qkv, uint64_t heads, uint64_t kv_heads);  // all of q, of k, of v
  // Rotates q and k, one section of a head for each of the graph's positions.
  Heads Rope(const Heads& heads);
  // `window`: tokens that a token sees, itself included; 0: all before it. `scale` of the scores;
  // 0: 1 / sqrt(head_dim). `softcap` of the scores; 0: none.
  Value Attention(const Heads& heads, const char* mask, uint64_t window = 0, double scale = 0,
                  double softcap = 0);
  Value Gelu(Value x);  // the tanh form
  Value Silu(Value x);
  Value Scale(Value x, double factor);
  Value Softcap(Value x, double cap);               // cap * tanh(x / cap)
  Value Add(Value a, Value b, double alpha = 1.0);  // alpha * a + b
  Value Mul(Value a, Value b);

  uint64_t layer() const { return layer_; }                  // that was begun last
  std::vector<ImportTensor>& tensors() { return tensors_; }  // those listed so far
  Graph Finish(Value output);                                // the graph, whose output this is

 private:
  using Role = ImportTensor::Role;
  void ListTensor(const std::string& name, const std::vector<ImportSource>& sources,
                  const char* ending, uint64_t width, Role role, float plus = 0);
  Value Made(const GraphBuilder::Value& value, uint64_t width) const { return {value.name, width}; }
  Heads MadeHeads(const GraphBuilder::Heads& made, uint64_t head_dim, uint64_t n) const;

  std::optional<GraphBuilder> graph_;
  std::vector<std::string> inputs_;
  std::vector<ImportTensor> tensors_;
  std::string prefix_, source_prefix_;
  uint64_t layer_ = 0;
  RopeForm rope_;
};

// Lists the tensors of `describe`, which returns the logits, and sets the plan's `build` to it.
using Description = std::function<Network::Value(Network& network)>;
void SetNetwork(std::vector<std::string> inputs, Description describe, ImportPlan* plan);

}  // namespace glint
