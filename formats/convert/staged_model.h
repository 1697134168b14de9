#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/convert/source_model.h"
#include "lib/kv_cache.h"
#include "lib/model.h"
#include "lib/plan.h"
#include "lib/positions.h"
#include "lib/thread_pool.h"

namespace glint {

// Token ids to calibrate with: n windows of equal length, each read from an empty cache.
struct TokenWindows {
  size_t length = 0;
  std::vector<int32_t> ids;  // (n, length)
  size_t n() const { return length == 0 ? 0 : ids.size() / length; }
};

// A matrix or vector in memory of its own, 64-byte aligned.
struct OwnedTensor {
  Tensor tensor;
  std::unique_ptr<uint8_t, void (*)(void*)> memory{nullptr, nullptr};
};
// Without contents (zero). Throws Error if such a tensor cannot exist or memory is short.
OwnedTensor AllocateTensor(const std::string& name, DType dtype, BlockOffset offset,
                           const std::vector<uint64_t>& shape);

// A model that runs a piece at a time, all windows through one before any passes the next, so that the
// weights of one piece are in memory. A piece ("stage") is the least run of the graph's nodes that has
// a linear op and after which a single activation goes on: a layer's attention, its feed-forward
// network. The head does not run: what it reads is the last stage's output. Activations are f32, caches
// f32, so every bit is the same on every machine and with every number of threads.
// To be used by one thread at a time.
class StagedModel {
 public:
  // `source` and `windows` must outlive it. Throws Error if the graph cannot be cut so, or an id or a
  // window does not suit the model.
  StagedModel(const SourceModel& source, const TokenWindows& windows, size_t threads);
  ~StagedModel();

  // Linears of a stage that read the same activation; of op routed_linear, one expert's, which read
  // the rows that reach it.
  struct Input {
    std::string value;
    uint64_t cols = 0;
    std::vector<std::string> weights;  // names of matrices
    std::string routing{};             // empty: all rows of `value`
    size_t expert = 0;
    bool IsExpert() const { return !routing.empty(); }
  };
  struct Stage {
    Graph graph;                // begins with op "hidden"
    std::vector<Input> inputs;  // the last stage has one: what the head reads
  };
  const std::vector<Stage>& stages() const { return stages_; }
  // The first matrix, whose rows the first stage reads, and its width.
  const std::string& embedding() const { return embedding_; }
  ThreadPool& pool() { return *pool_; }
  size_t n_tokens() const { return windows_.ids.size(); }

  // One activation of every token: (windows * length, width).
  using Rows = std::vector<float>;
  // What the first stage reads, of the first `n_windows` windows.
  Rows Embed(size_t n_windows) const;

  // Reads the stage's weights into memory (floats as the source has them, else f32), in place of the
  // stage's before.
  void Load(size_t stage);
  // Runs the stage that is loaded on `rows`, a number of whole windows, which become its output if
  // `keep`. Weights named in `replaced` are used in place of the source's. `observe` (may be empty) gets
  // the rows of each of the stage's inputs, window by window: x (n, cols), `stride` apart; where a
  // replaced weight is quantized, its input is not observed. (An expert's input comes in fewer rows
  // than there are tokens, or not at all.)
  using Observe = std::function<void(size_t input, const float* x, size_t stride, size_t n)>;
  void Run(Rows* rows, bool keep, const std::vector<const Tensor*>& replaced,
           const Observe& observe);

 private:
  void CutGraph(const Graph& graph);
  void AddStage(const Graph& graph, size_t begin, size_t end, const std::string& in,
                const std::string& out);
  void AddInputs(const Node& node, Stage* stage) const;
  void CheckWindows();
  const SourceWeight& Weight(const std::string& name) const;
  void RunWindow(const Plan& plan, const KvCache& cache, size_t window, float* rows, bool keep,
                 const Observe& observe);

  const SourceModel& source_;
  const TokenWindows& windows_;
  const KernelTable& kernels_;
  std::unique_ptr<ThreadPool> pool_;
  std::map<std::string, const SourceWeight*> weights_;
  std::map<std::string, ValueInfo> values_;  // of the whole graph
  std::string embedding_;
  std::vector<Stage> stages_;
  PromptIds prompt_ids_;
  const PositionScheme* positions_ = nullptr;
  size_t loaded_ = 0;
  std::map<std::string, OwnedTensor> memory_;  // the loaded stage's tensors
  RopeTables rope_tables_;
};

}  // namespace glint
