#pragma once
#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/adapter.h"
#include "lib/executor.h"
#include "lib/kv_cache.h"
#include "lib/model.h"
#include "lib/plan.h"
#include "lib/positions.h"
#include "lib/status.h"
#include "lib/thread_pool.h"

namespace glint {

struct AdapterSet;  // lib/adapter_set.h

struct SessionOptions {
  size_t context = 0;            // tokens; 0: what the model was trained on
  KvType kv = KvType::kF16;
  size_t threads = 0;            // 0: DefaultThreads()
  // Works in place of threads of the session's own, and says how many; copied. No bit depends on it.
  const ExternalPool* pool = nullptr;
  // What the session's rows of outputs are. "Logits" below are hidden states where these are asked for.
  SessionOutput output = SessionOutput::kLogits;
  size_t chunk = 256;            // prompt tokens that pass a layer together; changes no bit
  size_t max_outputs = 1;        // rows of logits computed together by Start; changes no bit
  size_t max_batch = 1;          // tokens that AppendBatch takes at most; each has a row of logits
};

// The default cache type for a model: f32 where the weights are f32, else f16.
KvType DefaultKv(const Model& model);

// What the options mean for this model: nothing is 0, and nothing exceeds the context.
SessionOptions WithDefaults(const Model& model, SessionOptions options);
// How a session with these options plans prompts, and batches of a reply's tokens.
PlanOptions PromptPlanOptions(const Model& model, const SessionOptions& options);
PlanOptions BatchPlanOptions(const Model& model, const SessionOptions& options);
// The cache that it has then.
KvShape CacheShape(const Plan& prompt_plan, const SessionOptions& options);

// One sequence of tokens over a shared model: cache, positions, buffers. Everything is allocated when
// it is created; nothing after. To be used by one thread at a time.
class Session {
 public:
  // Throws Error if the model cannot run so, or if the machine does not have the memory for it
  // (lib/memory_estimate.h). `model` must outlive the session. `adapters`: as SetAdapters takes them.
  Session(const Model& model, const SessionOptions& options,
          std::span<const AdapterUse> adapters = {});

  // Begins a new sequence with this prompt, forgetting the old. Logits of the last token are then in
  // logits(). With `sink`, those of every token go there too (max_outputs rows at a time). Ids
  // must be below the model's vocab_size. Throws Error if the prompt cannot start a sequence (an
  // id out of range, no [gMASK]): the session is as before.
  // Where no token sees a later one, what the cache still holds of the prompt's beginning is not
  // computed again (without a sink; the last token always is). No bit depends on it.
  Status Start(std::span<const int32_t> prompt, const OutputSink* sink = nullptr);
  // Tokens of the prompt that the last Start did not have to compute.
  size_t kept() const { return kept_; }
  // The next Start computes its whole prompt.
  void Forget() { held_ = 0; }

  // Appends one token to a sequence that Start began; its logits are then in logits(). Throws Error if
  // there is no sequence (the last Start did not return kOk) or the id is outside the vocabulary.
  Status Append(int32_t id) { return AppendBatch({&id, 1}); }

  // Appends ids.size() tokens, 1 to max_batch, in one run: every bit is as if they had been
  // appended one by one, but the weights are read once. On a status other than kOk none is taken
  // and logits() stay (kNonFinite: one of the rows is not finite; a shorter batch may still go
  // well). Throws Error as Append does, and for a batch that is empty or too long.
  Status AppendBatch(std::span<const int32_t> ids);
  // Logits after ids[i] of the last AppendBatch, if it returned kOk: (model.n_outputs()), valid
  // until the next Append or AppendBatch.
  std::span<const float> BatchLogits(size_t i) const;

  // Drops the last tokens, so that `length` remain: at least those of the prompt, which see each
  // other. What is appended next takes their place, as if they had never been. logits() are then
  // those of the new last token if the last AppendBatch took it, else empty. Throws Error for
  // another length, and, in a model with windows, where what the next token sees has been
  // overwritten; never for a length within the last AppendBatch or just before it.
  void Truncate(size_t length);

  // From now on the session computes with these adapters, and with no others: the low-rank changes in
  // this order; at most one prefix. None, or scales of 0: every bit is the model's own. A loading call:
  // it plans anew, may allocate, and ends the sequence and SetProfile. Throws Error, and then changes
  // nothing, if an adapter is not of this model, a scale is not finite, or memory lacks. They must
  // outlive the session, or their use by it.
  void SetAdapters(std::span<const AdapterUse> adapters);
  // Those in use; without those whose scale is 0.
  std::span<const AdapterUse> adapters() const { return adapters_; }
  // Cache entries of the prefix, which come before those of tokens and count for none of them.
  size_t prefix_length() const { return prefix_length_; }

  std::span<const float> logits() const {  // (model.OutputSize(output()))
    return {logits_.data(), n_logits_};
  }
  size_t length() const { return length_; }  // tokens in the cache
  size_t prompt_length() const { return prompt_length_; }  // of the last Start, if length() is not 0
  std::span<const int32_t> ids() const { return {ids_.data(), length_}; }
  // Rows that BatchLogits has: tokens of the last AppendBatch that are still there.
  size_t batch_size() const {
    return length_ > batch_begin_ ? std::min(batch_size_, length_ - batch_begin_) : 0;
  }
  SessionOutput output() const { return options_.output; }
  size_t context() const { return options_.context; }
  size_t max_batch() const { return options_.max_batch; }
  size_t chunk() const { return options_.chunk; }
  const Model& model() const { return model_; }
  const KernelTable& kernels() const { return kernels_; }
  ThreadPool& pool() { return *pool_; }

  // May be called from any thread or a signal handler: ends the computation at the next task of
  // a step (docs/ARCHITECTURE.md has times), and every later one until ClearCancel. The call that is
  // running returns kCancelled. A Start leaves no sequence, and what the cache holds of finished
  // chunks is kept for the next one; an Append or AppendBatch leaves the sequence as it was before.
  void Cancel() { cancel_.store(true); }
  // Forgets an earlier Cancel.
  void ClearCancel() { cancel_.store(false); }
  bool cancelled() const { return cancel_.load(); }

  // The steps' times of later runs go to `profile` (null: to none), if they are runs of its plan: Start
  // runs prompt_plan(), Append and AppendBatch batch_plan(). It must outlive them.
  void SetProfile(Profile* profile) { profile_ = profile; }
  const Plan& prompt_plan() const { return *prompt_plan_; }
  const Plan& batch_plan() const { return *batch_plan_; }
  const KvCache& cache() const { return *cache_; }

  uint64_t cache_bytes() const { return cache_->bytes(); }  // when full

 private:
  friend class SessionImage;  // lib/session_file.cc
  size_t CommonBeginning(std::span<const int32_t> prompt, const SequencePositions& sequence) const;
  Status Run(const Plan& plan, std::span<const int32_t> ids, size_t cache_begin, size_t n_outputs,
             const OutputSink* sink);
  Status RunPiece(const Plan& plan, std::span<const int32_t> ids, size_t cache_begin,
                  size_t n_outputs, const OutputSink& sink);
  void Allocate(std::span<const AdapterUse> adapters);
  void LogPlan() const;
  // Plans for these adapters, and a cache if there is none or the prefix asks for another. Changes
  // nothing if memory lacks.
  void Use(AdapterSet set);
  // A plan with these low-rank changes and so many cache entries before the tokens'.
  std::unique_ptr<Plan> MakePlan(PlanOptions options, const LowRankMap& low_rank, size_t prefix);
  void StorePrefix(const Adapter& prefix, const Plan& plan, const KvCache& cache) const;
  bool FilesUnchanged() const;
  void CheckIds(std::span<const int32_t> ids) const;

  const Model& model_;
  SessionOptions options_;
  const KernelTable& kernels_;
  std::unique_ptr<ThreadPool> pool_;
  RopeTables rope_tables_;
  std::unique_ptr<Plan> prompt_plan_, batch_plan_;
  std::unique_ptr<KvCache> cache_;
  std::vector<AdapterUse> adapters_;
  size_t prefix_length_ = 0;
  SequencePositions sequence_;
  std::vector<int32_t> position_inputs_;  // (n_positions, most rows of a run)
  // What the cache is of: the first held_ of these ids, whether of this sequence or beyond it.
  std::vector<int32_t> ids_;  // (context)
  size_t held_ = 0;
  size_t written_ = 0;  // positions below it have been stored since the cache last began anew
  size_t kept_ = 0;
  // In a model with windows, after a restore: what is cut off must leave so many tokens, since what
  // their windows saw before is not there.
  size_t floor_ = 0;
  std::vector<float> logits_;
  size_t n_logits_ = 0;          // logits_.size(), or 0: Truncate has left none
  size_t length_ = 0;            // 0: there is no sequence
  size_t prompt_length_ = 0;
  size_t batch_begin_ = 0;       // length() before the last AppendBatch
  size_t batch_size_ = 0;        // its tokens; 0: it was not the last call, or failed
  Profile* profile_ = nullptr;
  std::atomic<bool> cancel_{false};
};

}  // namespace glint
