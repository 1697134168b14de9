#pragma once
#include <atomic>

#include "lib/plan.h"
#include "lib/profile.h"
#include "lib/status.h"

namespace glint {

// Takes rows of outputs as they are finished: rows [begin, begin + n) of the run, `stride` floats apart.
// Refers to a function object that outlives it; unlike std::function it never allocates.
class OutputSink {
 public:
  template <class Fn>
  OutputSink(const Fn& fn)
      : fn_(&fn), call_([](const void* f, size_t begin, size_t n, const float* rows, size_t stride) {
          (*static_cast<const Fn*>(f))(begin, n, rows, stride);
        }) {}
  void operator()(size_t begin, size_t n, const float* rows, size_t stride) const {
    call_(fn_, begin, n, rows, stride);
  }

 private:
  const void* fn_;
  void (*call_)(const void*, size_t, size_t, const float*, size_t);
};

// Walks a plan. Allocates nothing. Checks `cancel` (may be null) before each task of each step; a
// cancelled run leaves the cache entries of its rows undefined.
// Outputs are computed for the last `n_outputs` rows of the run only (0: none) and given to `sink`.
// `profile` (null: none, which costs nothing) takes the time of each step, if it is of this plan and its
// Begin() has been called.
Status Execute(const Plan& plan, const RunInputs& inputs, size_t n_outputs,
               const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
               const std::atomic<bool>* cancel, const OutputSink& sink,
               Profile* profile = nullptr);

}  // namespace glint
