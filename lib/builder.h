#pragma once
#include <map>
#include <string>
#include <vector>

#include "lib/graph.h"
#include "lib/ops/ops.h"

namespace glint {

// How op "rope" rotates (lib/ops/rope.cc).
struct RopeOptions {
  std::string style = "neox";    // or "interleaved"
  double scale = 1;              // of cos and sin
  int64_t original_context = 0;  // beyond it other frequencies: by dynamic_factor, or the second list
  double dynamic_factor = 0;
};

struct AttentionOptions {
  double scale = 0;    // of the scores; 0: 1 / sqrt(head_dim)
  double softcap = 0;  // of the scores; 0: none
  int64_t window = 0;  // tokens that a token sees, itself included; 0: all
};

// Appends nodes to a graph, checking each against its op as it comes, so that an architecture with a
// shape that does not fit fails at the line that is wrong. Values are names; tensors are named by the
// file's names. Every function throws Error.
class GraphBuilder {
 public:
  // A value of the graph.
  struct Value {
    std::string name;
  };

  // `tensors` must outlive the builder; `where` begins each message.
  GraphBuilder(std::string name, std::vector<std::string> inputs, const std::vector<Tensor>& tensors,
               std::string where);

  // Names the following outputs "prefix.word"; a layer's builder sets "layer.3".
  void SetPrefix(std::string prefix) { prefix_ = std::move(prefix); }

  Value Input(const std::string& name) const;  // one of the graph's inputs
  Value Embedding(Value ids, const std::string& weight);
  // y(t, n) = x(t, k) . weight(n, k)^T + bias(n); bias may be empty. `word` names the output. Where
  // there is a tensor "<weight>.columns" (i32, k), column i of the weight belongs to input
  // columns[i]: x is gathered first, once for all linears whose columns have one address.
  Value Linear(Value x, const std::string& weight, const std::string& bias, const char* word);
  Value LayerNorm(Value x, const std::string& weight, const std::string& bias, double eps);
  Value RmsNorm(Value x, const std::string& weight, double eps);  // of rows, or of each head
  struct Heads {
    Value q, k, v;  // each (n_tokens, heads, head_dim)
  };
  // layout "per_head": rows of the projection grouped as [q, k, v] of head 0, of head 1, ...
  Heads SplitHeads(Value qkv, int64_t heads, const std::string& layout);
  // Rows of the projection: all heads of q, then the kv_heads of k, then those of v.
  Heads SplitQkv(Value qkv, int64_t heads, int64_t kv_heads);
  // Rotates one section of each head per position.
  Value Rope(Value x, const std::string& inv_freq, std::vector<Value> positions,
             const RopeOptions& options = {});
  Value Attention(const Heads& heads, int64_t layer, const std::string& mask,
                  const AttentionOptions& options = {});
  Value Gelu(Value x, const std::string& approximation);
  Value Silu(Value x);
  Value Scale(Value x, double factor);  // factor * x
  Value Softcap(Value x, double cap);   // cap * tanh(x / cap)
  Value AddScaled(Value a, double alpha, Value b);  // alpha * a + b
  Value Mul(Value a, Value b);
  // Experts (lib/ops/route.cc, lib/ops/routed_linear.cc). Chooses top_k of each token's experts.
  Value Route(Value logits, int64_t top_k, bool normalize);
  // The chosen experts' products side by side, (n_tokens, top_k * n); x one row for all of a token's
  // experts, or a part for each. weights[e] is expert e's matrix. `word` names the output.
  Value RoutedLinear(Value x, Value routing, const std::vector<std::string>& weights,
                     const char* word);
  Value Combine(Value y, Value routing);  // their sum by the routing's weights
  Value Gate(Value x, Value logit);       // x * sigmoid(logit), a logit per token

  // Gives the last node's output this name and returns the finished graph.
  Graph Finish(Value output, const std::string& name);

 private:
  // An attribute whose value its absence has, too, is left out.
  std::vector<Value> Append(const char* op, std::vector<std::string> inputs,
                            std::vector<const char*> outputs,
                            std::map<std::string, Attribute> attributes);
  // `x` in the order of the weight's columns.
  Value Gathered(Value x, const std::string& weight);
  Value AppendOne(const char* op, const char* output, std::vector<std::string> inputs,
                  std::map<std::string, Attribute> attributes = {});

  Graph graph_;
  std::string where_, prefix_;
  std::map<std::string, ValueInfo> values_;
  std::map<std::string, const Tensor*> tensors_;
  struct Gather {
    std::string x;
    const Tensor* columns;
    Value y;
  };
  std::vector<Gather> gathers_;
};

}  // namespace glint
