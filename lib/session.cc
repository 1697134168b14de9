#include "lib/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "lib/adapter_set.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/memory_estimate.h"
#include "lib/system/free_memory.h"

namespace glint {
namespace {

PlanOptions PlanFor(const SessionOptions& options, size_t max_rows) {
  PlanOptions plan;
  plan.max_rows = max_rows;
  plan.chunk = std::min(options.chunk, max_rows);
  plan.max_outputs = std::min(options.max_outputs, max_rows);
  plan.context = options.context;
  plan.n_threads = options.threads;
  return plan;
}

bool AllFinite(const float* values, size_t n) {
  // The sum of (x - x) is 0 or nan; the loop has no branch and vectorizes.
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += values[i] - values[i];
  return sum == 0;
}

}  // namespace

const char* Describe(Status status) {
  static constexpr const char* kTexts[] = {
      "ok", "cancelled", "the context is full",
      "the model produced numbers that are not finite; its weights may be damaged",
      "the model file was changed while it was in use"};
  return kTexts[static_cast<size_t>(status)];
}

KvType DefaultKv(const Model& model) {
  for (const Node& node : model.graph().nodes) {
    if (WeightsOf(node).empty()) continue;
    return model.file().Find(WeightsOf(node)[0])->dtype == DType::kF32 ? KvType::kF32 : KvType::kF16;
  }
  return KvType::kF16;
}

SessionOptions WithDefaults(const Model& model, SessionOptions options) {
  if (options.context == 0) options.context = model.max_context();
  if (options.pool) options.threads = options.pool->threads;
  if (options.threads == 0) options.threads = DefaultThreads();
  options.chunk = std::clamp<size_t>(options.chunk, 1, options.context);
  options.max_outputs = std::clamp<size_t>(options.max_outputs, 1, options.context);
  options.max_batch = std::clamp<size_t>(options.max_batch, 1, options.context);
  return options;
}

// Tokens that see later ones pass each layer all together.
PlanOptions PromptPlanOptions(const Model& model, const SessionOptions& options) {
  const SessionOptions all = WithDefaults(model, options);
  return PlanFor(all, model.causal() ? all.chunk : all.context);
}

// A batch is small and every row of it is an output: it goes through in one piece.
PlanOptions BatchPlanOptions(const Model& model, const SessionOptions& options) {
  const SessionOptions all = WithDefaults(model, options);
  PlanOptions plan = PlanFor(all, all.max_batch);
  plan.chunk = plan.max_outputs = all.max_batch;
  return plan;
}

// Tokens have as much room behind a prefix as without one.
KvShape CacheShape(const Plan& prompt_plan, const SessionOptions& options) {
  const size_t capacity = options.context + prompt_plan.options().prefix;
  return {prompt_plan.n_layers(), prompt_plan.kv_heads(), prompt_plan.head_dim(),
          capacity,               options.kv,             prompt_plan.windows(),
          std::max(prompt_plan.options().max_rows, options.max_batch)};
}

Session::Session(const Model& model, const SessionOptions& options,
                 std::span<const AdapterUse> adapters)
    : model_(model), options_(WithDefaults(model, options)), kernels_(ChooseKernels()) {
  const FpModeScope fp_mode;  // the rotary tables are computed here
  const auto refuse = [&]<class Kind>(const Kind& why) {
    const std::string message = model.file().path() + ": " + why.what();
    if (model.log()) model.log()(LogLevel::kError, message);
    throw Kind(message);
  };
  try {
    Allocate(adapters);
  } catch (const OutOfMemory& error) {
    refuse(error);
  } catch (const Error& error) {
    refuse(error);
  } catch (const std::bad_alloc&) {
    refuse(OutOfMemory("out of memory for a context of " + std::to_string(options_.context) +
                       " tokens"));
  }
  LogPlan();
}

// "m.glint: session: kernels avx512, 8 threads, context 2048, chunks of 256; cache f16 112 MiB when
// full, activations 21 MiB"
void Session::LogPlan() const {
  const Log& log = model_.log();
  if (!log) return;
  const auto mib = [](uint64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20); };
  log(LogLevel::kInfo,
      model_.file().path() + ": session: kernels " + kernels_.isa + ", " +
          std::to_string(pool_->size()) + " threads, context " + std::to_string(options_.context) +
          ", chunks of " + std::to_string(options_.chunk) + "; cache " + Name(options_.kv) + " " +
          mib(cache_->bytes()) + " MiB when full, activations " +
          mib(prompt_plan_->arena_bytes() + batch_plan_->arena_bytes()) + " MiB");
}

void Session::Allocate(std::span<const AdapterUse> adapters) {
  if (options_.context > kMaxContext) {
    throw Error("a context of " + std::to_string(options_.context) + " tokens; the limit is " +
                std::to_string(kMaxContext));
  }
  if (options_.threads > kMaxThreads) {
    throw Error(std::to_string(options_.threads) + " threads; the limit is " +
                std::to_string(kMaxThreads));
  }
  const uint64_t room = FreeMemory();
  CheckMemory(model_, options_, room, adapters);
  pool_ = options_.pool ? std::make_unique<ThreadPool>(*options_.pool)
                        : std::make_unique<ThreadPool>(options_.threads);
  options_.pool = nullptr;  // it was copied, and may be gone
  Use(MakeAdapterSet(adapters, model_));
  position_inputs_.resize(model_.positions().n_positions * CacheShape(*prompt_plan_, options_).run);
  ids_.resize(options_.context);
  logits_.resize(model_.OutputSize(options_.output));
  n_logits_ = logits_.size();
  // Last: while pages come, whoever reserves memory waits for them. In a group that has no room for all
  // of them the first would be gone before the last have come.
  if (model_.file().bytes() <= room) model_.file().ReadAhead();
}

std::unique_ptr<Plan> Session::MakePlan(PlanOptions options, const LowRankMap& low_rank,
                                        size_t prefix) {
  if (!model_.file().Unchanged()) {  // tables are made of some of its tensors
    throw Error(model_.file().path() + ": " + Describe(Status::kFileChanged));
  }
  options.low_rank = low_rank.empty() ? nullptr : &low_rank;
  options.prefix = prefix;
  const FindTensor find = [this](const std::string& name) { return model_.file().Find(name); };
  return std::make_unique<Plan>(model_.graph(options_.output), find, options, &rope_tables_);
}

bool Session::FilesUnchanged() const {
  for (const AdapterUse& use : adapters_) {
    if (!use.adapter->file().Unchanged()) return false;
  }
  return model_.file().Unchanged();
}

void Session::CheckIds(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && static_cast<uint64_t>(ids[i]) < model_.vocab_size()) continue;
    throw Error("id " + std::to_string(ids[i]) + " at index " + std::to_string(i) +
                " is outside the vocabulary of " + std::to_string(model_.vocab_size()));
  }
}

Status Session::Start(std::span<const int32_t> prompt, const OutputSink* sink) {
  if (profile_) profile_->Begin();
  CheckIds(prompt);
  kept_ = 0;
  SequencePositions sequence;
  std::string why;
  if (prompt.size() > options_.context) return Status::kContextFull;
  if (!model_.positions().start(prompt, model_.prompt_ids(), &sequence, &why)) throw Error(why);
  if (!FilesUnchanged()) return Status::kFileChanged;
  kept_ = sink ? 0 : CommonBeginning(prompt, sequence);
  if (kept_ == 0) written_ = floor_ = 0;
  sequence_ = sequence;
  length_ = batch_size_ = 0;
  const std::span<const int32_t> rest = prompt.subspan(kept_);
  const Status status = Run(*prompt_plan_, rest, kept_, sink ? rest.size() : 1, sink);
  if (status == Status::kOk) length_ = prompt_length_ = prompt.size();
  return status;
}

// How much of the prompt is in the cache, the last token left out.
size_t Session::CommonBeginning(std::span<const int32_t> prompt,
                                const SequencePositions& sequence) const {
  if (!model_.causal()) return 0;
  const auto same = [&](size_t i) {
    int32_t was[2] = {}, is[2] = {};
    model_.positions().at(sequence_, i, was);
    model_.positions().at(sequence, i, is);
    return ids_[i] == prompt[i] && was[0] == is[0] && was[1] == is[1];
  };
  size_t n = 0;
  while (n < held_ && n + 1 < prompt.size() && same(n)) ++n;
  return n >= floor_ && cache_->Holds(written_, n) ? n : 0;
}

Status Session::AppendBatch(std::span<const int32_t> ids) {
  if (profile_) profile_->Begin();
  CheckIds(ids);
  if (length_ == 0) throw Error("there is no sequence to append to");
  if (ids.empty() || ids.size() > options_.max_batch) {
    throw Error("a batch of " + std::to_string(ids.size()) + " tokens; this session takes 1 to " +
                std::to_string(options_.max_batch));
  }
  if (ids.size() > options_.context - length_) return Status::kContextFull;
  if (!FilesUnchanged()) return Status::kFileChanged;
  batch_size_ = 0;
  const Status status = Run(*batch_plan_, ids, length_, ids.size(), nullptr);
  if (status != Status::kOk) return status;
  batch_begin_ = length_;
  batch_size_ = ids.size();
  length_ += ids.size();
  return status;
}

std::span<const float> Session::BatchLogits(size_t i) const {
  // The arena of the plan still holds the rows of its last run.
  const ActivationRef& output = batch_plan_->output();
  const Buffer& buffer = batch_plan_->buffers()[output.buffer];
  const float* rows =
      reinterpret_cast<const float*>(batch_plan_->arena() + buffer.arena_offset) + output.offset;
  return {rows + i * buffer.row_floats, logits_.size()};
}

void Session::Truncate(size_t length) {
  if (length_ == 0 || length < prompt_length_ || length > length_) {
    throw Error("cannot cut the sequence of " + std::to_string(length_) + " tokens to " +
                std::to_string(length) + ": its prompt has " + std::to_string(prompt_length_));
  }
  if (length == length_) return;
  if (length < floor_ || !cache_->Holds(written_, length)) {
    throw Error("cannot cut the sequence of " + std::to_string(length_) + " tokens to " +
                std::to_string(length) + ": a layer's window no longer reaches so far back");
  }
  length_ = length;
  const bool known = batch_size_ != 0 && length > batch_begin_;
  n_logits_ = known ? logits_.size() : 0;
  if (!known) return;
  const std::span<const float> row = BatchLogits(length - batch_begin_ - 1);
  std::memcpy(logits_.data(), row.data(), row.size_bytes());
}

Status Session::Run(const Plan& plan, std::span<const int32_t> ids, size_t cache_begin,
                    size_t n_outputs, const OutputSink* sink) {
  const size_t most = plan.options().max_rows, first_output = ids.size() - n_outputs;
  bool finite = true;
  for (size_t begin = 0; begin < ids.size(); begin += most) {
    const size_t end = std::min(begin + most, ids.size());
    const auto collect = [&](size_t row, size_t n, const float* rows, size_t stride) {
      for (size_t i = 0; i < n; ++i) {
        finite = finite && AllFinite(rows + i * stride, logits_.size());
      }
      if (sink) (*sink)(begin + row, n, rows, stride);
      if (!finite) return;  // a batch that is not taken leaves the logits of the last token
      std::memcpy(logits_.data(), rows + (n - 1) * stride, logits_.size() * sizeof(float));
      n_logits_ = logits_.size();
    };
    const std::span<const int32_t> piece = ids.subspan(begin, end - begin);
    held_ = cache_begin + begin;
    written_ = std::max(written_, cache_begin + end);
    std::copy(piece.begin(), piece.end(), ids_.begin() + static_cast<ptrdiff_t>(held_));
    const Status status = RunPiece(plan, piece, held_, end - std::clamp(first_output, begin, end),
                                   OutputSink(collect));
    if (status != Status::kOk) return status;
    held_ = cache_begin + end;
  }
  if (!FilesUnchanged()) {
    // What was computed meanwhile is of no model.
    held_ = n_logits_ = 0;
    return Status::kFileChanged;
  }
  return finite ? Status::kOk : Status::kNonFinite;
}

// As many rows as the plan takes at most.
Status Session::RunPiece(const Plan& plan, std::span<const int32_t> ids, size_t cache_begin,
                         size_t n_outputs, const OutputSink& sink) {
  const PositionScheme& scheme = model_.positions();
  const size_t most = position_inputs_.size() / scheme.n_positions;
  RunInputs inputs;
  inputs.n = ids.size();
  inputs.ids = ids.data();
  // A prefix lies before the tokens in the cache, and moves no position. Where the beginning of the
  // prompt sees itself, it sees the prefix with it.
  inputs.cache_begin = prefix_length_ + cache_begin;
  inputs.prefix_len = prefix_length_ + sequence_.prefix_len;
  for (size_t p = 0; p < scheme.n_positions; ++p) {
    inputs.positions[p] = position_inputs_.data() + p * most;
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    int32_t at[2];
    scheme.at(sequence_, cache_begin + i, at);
    for (size_t p = 0; p < scheme.n_positions; ++p) position_inputs_[p * most + i] = at[p];
  }
  return Execute(plan, inputs, n_outputs, kernels_, *pool_, *cache_, &cancel_, sink, profile_);
}

}  // namespace glint
