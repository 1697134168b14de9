#include "lib/thread_pool.h"

#include <chrono>
#include <string>
#include <system_error>

#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

// Some 30 to 100 microseconds of spinning, as long as `pause` takes: longer than the gap between two ops
// of a token, far shorter than the gap between two replies.
constexpr int kSpins = 2000;

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace

ThreadPool::ThreadPool(size_t n_threads) {
  try {
    for (size_t i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
  } catch (const std::system_error&) {
    const size_t started = workers_.size() + 1;
    Stop();
    throw Error("the system refuses more than " + std::to_string(started) + " of the " +
                std::to_string(n_threads) + " threads asked for");
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  stop_.store(true);
  epoch_.fetch_add(2);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Work(size_t worker) {
  if (!busy_) return RunTasks(worker);
  const auto start = std::chrono::steady_clock::now();
  RunTasks(worker);
  const std::chrono::nanoseconds spent = std::chrono::steady_clock::now() - start;
  busy_->fetch_add(spent.count(), std::memory_order_relaxed);
}

void ThreadPool::RunTasks(size_t worker) {
  for (;;) {
    const size_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= n_tasks_) return;
    call_(fn_, task, worker);
  }
}

void ThreadPool::RunErased(size_t n_tasks, TaskFn call, const void* fn) {
  call_ = call;
  fn_ = fn;
  n_tasks_ = n_tasks;
  next_task_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || n_tasks <= 1) return Work(0);
  epoch_.fetch_add(1);  // Odd: open.
  if (asleep_.load() != 0) epoch_.notify_all();
  Work(0);
  epoch_.fetch_add(1);  // Even: closed. A worker that enters from now on sees so and leaves.
  for (int i = 0; inside_.load() != 0; ++i) {
    // A worker that was preempted inside a task needs this processor more than we do.
    if (i < kSpins) CpuRelax(); else std::this_thread::yield();
  }
}

uint32_t ThreadPool::WaitForJob(uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (epoch != seen) return epoch;
    CpuRelax();
  }
  asleep_.fetch_add(1);
  epoch_.wait(seen);
  asleep_.fetch_sub(1);
  return epoch_.load();
}

void ThreadPool::WorkerLoop(size_t worker) {
  const FpModeScope fp_mode;
  uint32_t seen = 0;
  while (!stop_.load()) {
    seen = WaitForJob(seen);
    // Enter first, then look: Run closes the job first and looks for workers inside second, so one
    // of the two always notices the other (both sequentially consistent).
    inside_.fetch_add(1);
    if ((epoch_.load() & 1) != 0) Work(worker);
    inside_.fetch_sub(1);
  }
}

}  // namespace glint
