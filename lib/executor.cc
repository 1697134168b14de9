#include "lib/executor.h"

#include <algorithm>

#include "lib/fp_mode.h"

namespace glint {
namespace {

// Steps [begin, end) for the rows that `context` names.
bool RunSteps(const StepContext& context, size_t begin, size_t end, const std::atomic<bool>* cancel,
              Profile* profile) {
  for (size_t i = begin; i < end; ++i) {
    if (cancel && cancel->load(std::memory_order_relaxed)) return false;
    const Step& step = context.plan.steps()[i];
    step.run(context, step);
    if (context.pool.WasCut()) return false;
    if (profile) {
      const size_t end = context.inputs.cache_begin + context.begin + context.n;
      profile->End(i, context.n, step.window == 0 ? end : std::min(end, step.window));
    }
  }
  return true;
}

// The pool counts the time inside tasks while this lives.
class BusyScope {
 public:
  BusyScope(ThreadPool& pool, Profile* profile) : pool_(pool), profile_(profile) {
    if (!profile_) return;
    pool_.CountBusy(profile_->busy());
  }
  ~BusyScope() {
    if (profile_) pool_.CountBusy(nullptr);
  }
  BusyScope(const BusyScope&) = delete;

 private:
  ThreadPool& pool_;
  Profile* profile_;
};

}  // namespace

Status Execute(const Plan& plan, const RunInputs& inputs, size_t n_outputs,
               const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
               const std::atomic<bool>* cancel, const OutputSink& sink, Profile* profile) {
  const FpModeScope fp_mode;
  if (profile && &profile->plan() != &plan) profile = nullptr;
  const BusyScope busy(pool, profile);
  if (profile) profile->End(profile->InputsRow(), inputs.n, 0);
  const ThreadPool::StopScope stop(pool, cancel);
  StepContext context{plan, inputs, kernels, pool, cache};
  const std::vector<Step>& steps = plan.steps();
  size_t step = 0;
  for (uint32_t segment = 0; segment < plan.n_segments(); ++segment) {
    size_t end = step;
    while (end < steps.size() && steps[end].segment == segment) ++end;
    const bool last = segment + 1 == plan.n_segments();
    const size_t chunk = last ? plan.options().max_outputs : plan.options().chunk;
    for (size_t row = last ? inputs.n - n_outputs : 0; row < inputs.n; row += chunk) {
      context.begin = row;
      context.n = std::min(chunk, inputs.n - row);
      if (!RunSteps(context, step, end, cancel, profile)) return Status::kCancelled;
      if (last) {
        sink(row, context.n, context.Rows(plan.output()), context.Stride(plan.output()));
        if (profile) profile->End(profile->OutputsRow(), context.n, 0);
      }
    }
    step = end;
  }
  return Status::kOk;
}

}  // namespace glint
