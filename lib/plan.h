#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/graph.h"
#include "lib/kv_cache.h"
#include "lib/low_rank.h"
#include "lib/ops/ops.h"
#include "lib/rope_table.h"
#include "lib/thread_pool.h"
#include "simd/kernels.h"

namespace glint {

// A graph made ready to run: a flat list of steps with every address and size settled.
//
// A run computes `n` rows (tokens). The list is cut into segments at each attention: a segment ends
// with the step that stores keys and values, the next begins with the one that attends. All rows pass
// one segment before any passes the next, so a token may attend to later ones (a bidirectional prefix).
// Within a segment rows go through in chunks; what crosses a cut is kept for all rows, the rest for one
// chunk. The last segment runs only for the rows whose outputs are wanted. Where no token sees a later
// one, a session makes a run of every chunk, and nothing is kept for more rows.

// An activation's place. Rows of `buffer` are row_floats apart; this value starts `offset` into a row.
// With heads, head h is at h * head_stride.
struct ActivationRef {
  uint32_t buffer = 0;
  uint64_t offset = 0;       // floats
  uint64_t width = 0;        // floats of a row, all heads together
  uint64_t heads = 1;
  uint64_t head_stride = 0;  // floats
};

struct Buffer {
  uint64_t row_floats = 0;
  bool crosses = false;      // a cut: holds every row of the run, else one chunk's
  uint64_t arena_offset = 0; // bytes
};

// Rows of an activation as bytes, as the matmul by weights of this type wants them: a pseudo-buffer in
// the arena that holds a chunk, or the outputs. lib/ops/quantize.h says how it is laid out.
struct QuantizedRef {
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t buffer = kNone;
  uint64_t cols = 0;
  DType weights = DType::kInt8;
  explicit operator bool() const { return buffer != kNone; }
};

struct Step {
  using Run = void (*)(const StepContext& context, const Step& step);
  Run run = nullptr;
  const Node* node = nullptr;
  std::vector<const Node*> fused;  // that are done along with it
  std::string label;               // what it does: "linear+gelu"
  uint32_t segment = 0;
  std::vector<ActivationRef> in;    // activations only, in the order of the node's inputs
  ActivationRef out;                // of the first output
  MatrixView matrix;                // embedding, linear; routed_linear: the first expert's
  std::vector<MatrixView> experts;  // routed_linear
  std::vector<LowRank> low_rank;    // linear: changes of its matrix (lib/ops/low_rank.h)
  size_t low_rank_in = 0;           // which of `in` they read
  const float* vectors[2] = {};     // norm: weight, bias; linear: bias
  std::vector<InputId> inputs;      // graph inputs, in order
  const RopeTable* rope = nullptr;
  const int32_t* index = nullptr;   // gather: (out.width), each entry known to be in range
  // Numbers from the attributes; each op uses what it needs.
  size_t heads = 0, kv_heads = 0, head_dim = 0, layer = 0, window = 0;
  size_t top_k = 0;  // experts that a token meets
  float eps = 0, alpha = 0, scale = 0, softcap = 0;
  // What is done along with the op ("fused"), because the data is still in the cache:
  QuantizedRef quantized_in;   // linear: its input, in place of in[0]
  QuantizedRef quantized_out;  // an op that makes whole rows: its output once more, as bytes
  // linear, routed_linear: what happens to columns [begin, begin + n) of its output once they are
  // there, for tokens [token_begin, token_end) of the chunk; reads `in`.
  using Epilogue = void (*)(const StepContext& context, const Step& step, size_t token_begin,
                            size_t token_end, size_t begin, size_t n);
  Epilogue epilogue = nullptr;
  bool makes_rows = false;      // can fill quantized_out
  bool takes_epilogue = false;
  uint32_t scratch_buffer = kNoBuffer;  // pseudo-buffer in the arena
  static constexpr uint32_t kNoBuffer = UINT32_MAX;
};

// What a run reads besides the weights.
struct RunInputs {
  size_t n = 0;                            // rows
  const int32_t* ids = nullptr;            // (n)
  const int32_t* positions[2] = {};        // (n) each
  const float* hidden = nullptr;           // (n, width): what op "hidden" begins a piece of a graph with
  size_t cache_begin = 0;                  // cache index of row 0; the rows follow each other
  size_t prefix_len = 0;                   // cache entries that see each other in both directions
};

struct PlanOptions {
  size_t max_rows = 0;      // of a run
  size_t chunk = 0;         // rows at a time
  size_t max_outputs = 1;   // rows of the last segment at a time
  size_t context = 0;       // positions of the rope tables; cache entries of tokens
  size_t prefix = 0;        // cache entries before them, which belong to no token
  size_t n_threads = 1;
  // Changes of matrices (null: none); copied, but for what the views show.
  const LowRankMap* low_rank = nullptr;
  bool sizes_only = false;  // settles all sizes and addresses, but takes no memory: cannot run
};

class Plan {
 public:
  // `graph` has been checked (CheckGraph); it, the tensors' owner and `rope_tables`, to which missing
  // tables are added, must outlive the plan. Throws Error.
  Plan(const Graph& graph, const FindTensor& find_tensor, const PlanOptions& options,
       RopeTables* rope_tables);
  ~Plan();
  Plan(const Plan&) = delete;

  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  const PlanOptions& options() const { return options_; }
  uint32_t n_segments() const { return n_segments_; }
  uint8_t* arena() const { return arena_; }
  uint64_t arena_bytes() const { return arena_bytes_; }
  const ActivationRef& output() const { return output_; }

  // Shape of the cache that the graph needs.
  size_t n_layers() const { return n_layers_; }
  size_t kv_heads() const { return kv_heads_; }
  size_t head_dim() const { return head_dim_; }
  // Of each layer: how many positions a token sees, itself among them; 0: all.
  const std::vector<size_t>& windows() const { return windows_; }

 private:
  friend class PlanBuilder;
  std::vector<Step> steps_;
  std::vector<Buffer> buffers_;
  PlanOptions options_;
  uint32_t n_segments_ = 1;
  ActivationRef output_;
  size_t n_layers_ = 0, kv_heads_ = 0, head_dim_ = 0;
  std::vector<size_t> windows_;
  uint8_t* arena_ = nullptr;
  uint64_t arena_bytes_ = 0;
};

// What a step sees when it runs: rows [begin, begin + n) of a run.
struct StepContext {
  const Plan& plan;
  const RunInputs& inputs;
  const KernelTable& kernels;
  ThreadPool& pool;
  const KvCache& cache;
  size_t begin = 0;
  size_t n = 0;

  // First float of row `begin` of an activation, and the distance of its rows.
  float* Rows(const ActivationRef& ref) const;
  size_t Stride(const ActivationRef& ref) const {
    return plan.buffers()[ref.buffer].row_floats;
  }
  uint8_t* Scratch(const Step& step) const;
};

}  // namespace glint
