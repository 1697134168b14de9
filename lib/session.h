#pragma once
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/model.h"
#include "lib/plan.h"
#include "lib/positions.h"
#include "lib/status.h"
#include "lib/thread_pool.h"

namespace glint {

struct SessionOptions {
  size_t context = 0;            // tokens; 0: what the model was trained on
  KvType kv = KvType::kF16;
  size_t threads = 0;            // 0: DefaultThreads()
  size_t chunk = 512;            // prompt tokens that pass the network together; changes no bit
  size_t max_outputs = 1;        // rows of logits computed together by Start; changes no bit
};

// The default cache type for a model: f32 where the weights are f32, else f16.
KvType DefaultKv(const Model& model);

// One sequence of tokens over a shared model: cache, positions, buffers. Everything is allocated when
// it is created; nothing after. To be used by one thread at a time.
class Session {
 public:
  // Throws Error if the model cannot run so. `model` must outlive the session.
  Session(const Model& model, const SessionOptions& options);

  // Begins a new sequence with this prompt, forgetting the old. Logits of the last token are then in
  // logits(). With `sink`, those of every token go there too (max_outputs rows at a time). Ids
  // must be below the model's vocab_size. Throws Error if the prompt cannot start a sequence (an
  // id out of range, no [gMASK]): the session is as before.
  Status Start(std::span<const int32_t> prompt, const OutputSink* sink = nullptr);

  // Appends one token to a sequence that Start began; its logits are then in logits(). Throws Error if
  // there is no sequence (the last Start did not return kOk) or the id is outside the vocabulary.
  Status Append(int32_t id);

  std::span<const float> logits() const { return logits_; }  // (model.n_outputs())
  size_t length() const { return length_; }                  // tokens in the cache
  size_t context() const { return options_.context; }
  size_t chunk() const { return options_.chunk; }
  const Model& model() const { return model_; }
  const KernelTable& kernels() const { return kernels_; }
  ThreadPool& pool() { return *pool_; }

  // May be called from any thread or a signal handler: ends the computation at the next step.
  void Cancel() { cancel_.store(true); }
  // Forgets an earlier Cancel.
  void ClearCancel() { cancel_.store(false); }

  // The steps' times of later runs go to `profile` (null: to none), if they are runs of its plan: Start
  // runs prompt_plan(), Append token_plan(). It must outlive them.
  void SetProfile(Profile* profile) { profile_ = profile; }
  const Plan& prompt_plan() const { return *prompt_plan_; }
  const Plan& token_plan() const { return *token_plan_; }
  const KvCache& cache() const { return *cache_; }

  uint64_t cache_bytes() const { return cache_->bytes(); }  // when full

 private:
  Status Run(const Plan& plan, std::span<const int32_t> ids, size_t n_outputs,
             const OutputSink* sink);
  void Allocate();
  void CheckIds(std::span<const int32_t> ids) const;

  const Model& model_;
  SessionOptions options_;
  const KernelTable& kernels_;
  std::unique_ptr<ThreadPool> pool_;
  RopeTables rope_tables_;
  std::unique_ptr<Plan> prompt_plan_, token_plan_;
  std::unique_ptr<KvCache> cache_;
  SequencePositions sequence_;
  std::vector<int32_t> position_inputs_;  // (n_positions, context)
  std::vector<float> logits_;
  Profile* profile_ = nullptr;
  size_t length_ = 0;  // 0: there is no sequence
  std::atomic<bool> cancel_{false};
};

}  // namespace glint
