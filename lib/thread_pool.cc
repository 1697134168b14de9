#include "lib/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "lib/error.h"
#include "lib/fp_mode.h"
#include "lib/system/wait.h"

#if defined(__APPLE__)
#include <pthread/qos.h>
#endif

namespace glint {
namespace {

// How long a thread spins before it sleeps. Longer than the gap between two ops of a token, far shorter
// than the gap between two replies; in time, since the length of a `pause` differs tenfold between
// processors. A thread that was preempted meanwhile finds its time over and sleeps at once, so where
// other programs want the processors, little time is spun away.
constexpr std::chrono::nanoseconds kSpinTime{50000};
// Of workers where there are more threads than processors: spinning takes one from a thread with work.
constexpr std::chrono::nanoseconds kCrowdedSpinTime{5000};
// Between two looks at the clock, which costs as much as a pause or more.
constexpr int kSpinsPerLook = 16;
// Sleepers that one thread wakes; each of them wakes as many in its turn, so that the caller of Run
// begins to work after two calls into the kernel however many threads there are.
constexpr int kWakes = 2;

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Spins until done() or until the time is over; what done() said last.
template <class Done>
bool SpinUntil(const Done& done, std::chrono::nanoseconds time) {
  using Clock = std::chrono::steady_clock;
  if (done()) return true;
  const Clock::time_point deadline = Clock::now() + time;
  do {
    for (int i = 0; i < kSpinsPerLook; ++i) {
      CpuRelax();
      if (done()) return true;
    }
  } while (Clock::now() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(size_t n_threads)
    : spin_time_(n_threads > std::thread::hardware_concurrency() ? kCrowdedSpinTime : kSpinTime) {
  try {
    for (size_t i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { WorkerLoop(i); });
  } catch (const std::system_error&) {
    const size_t started = workers_.size() + 1;
    Stop();
    throw Error("the system refuses more than " + std::to_string(started) + " of the " +
                std::to_string(n_threads) + " threads asked for");
  }
}

ThreadPool::ThreadPool(const ExternalPool& external) : spin_time_(kSpinTime), external_(external) {
  if (!external.run) throw Error("the external thread pool has no function to run tasks");
  if (external.threads != 0 && external.threads <= kMaxThreads) return;
  throw Error("the external thread pool has " + std::to_string(external.threads) +
              " threads, expected 1 to " + std::to_string(kMaxThreads));
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Stop() {
  stop_.store(true);
  epoch_.fetch_add(2);
  WakeAll(epoch_);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Work(size_t worker) {
  if (!busy_) return RunTasks(worker);
  const auto start = std::chrono::steady_clock::now();
  RunTasks(worker);
  const std::chrono::nanoseconds spent = std::chrono::steady_clock::now() - start;
  busy_->fetch_add(spent.count(), std::memory_order_relaxed);
}

// Sticky, so that nobody works on with what a job that was cut short has left undone.
bool ThreadPool::MustStop() {
  if (!stop_tasks_) return false;
  if (!cut_.load(std::memory_order_relaxed)) {
    if (!stop_tasks_->load(std::memory_order_relaxed)) return false;
    cut_.store(true, std::memory_order_relaxed);
  }
  return true;
}

void ThreadPool::RunTasks(size_t worker) {
  for (;;) {
    const size_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= n_tasks_ || MustStop()) return;
    call_(fn_, task, worker);
  }
}

void ThreadPool::WakeSome() {
  for (int i = 0; i < kWakes && asleep_.load() != 0; ++i) WakeOne(epoch_);
}

void ThreadPool::RunErased(size_t n_tasks, TaskFn call, const void* fn) {
  call_ = call;
  fn_ = fn;
  n_tasks_ = n_tasks;
  next_task_.store(0, std::memory_order_relaxed);
  if (external_.run && n_tasks > 1) return RunExternal();
  if (workers_.empty() || n_tasks <= 1) return Work(0);
  epoch_.fetch_add(1);  // Odd: open.
  WakeSome();
  Work(0);
  epoch_.fetch_add(1);  // Even: closed. A worker that enters from now on sees so and leaves.
  WaitForWorkers();
}

// Each of the pool's tasks is a worker, numbered as they come, that takes the job's tasks until none is
// left. So it may run them in turn, and what it leaves out is done here.
void ThreadPool::RunExternal() {
  next_worker_.store(0, std::memory_order_relaxed);
  const auto join = [](void* context, size_t, size_t) {
    ThreadPool& pool = *static_cast<ThreadPool*>(context);
    const FpModeScope fp_mode;
    const size_t worker = pool.next_worker_.fetch_add(1, std::memory_order_relaxed);
    if (worker < pool.external_.threads) pool.Work(worker);
  };
  external_.run(external_.user, std::min(n_tasks_, external_.threads), join, this);
  Work(0);
}

void ThreadPool::WaitForWorkers() {
  if (SpinUntil([this] { return inside_.load() == 0; }, kSpinTime)) return;
  // A worker may have been preempted inside a task, or waits for the disk; it may need this processor.
  // Announce the sleep first, then look again: the last worker leaves first and looks for a sleeper
  // second.
  caller_asleep_.store(true);
  for (uint32_t inside = inside_.load(); inside != 0; inside = inside_.load()) Wait(inside_, inside);
  caller_asleep_.store(false);
}

uint32_t ThreadPool::WaitForJob(uint32_t seen) {
  if (!SpinUntil([&] { return epoch_.load() != seen; }, spin_time_)) {
    asleep_.fetch_add(1);
    Wait(epoch_, seen);
    asleep_.fetch_sub(1);
  }
  return epoch_.load();
}

void ThreadPool::WorkerLoop(size_t worker) {
  const FpModeScope fp_mode;
#if defined(__APPLE__)
  // Somebody waits for the result: on the performance cores. By default workers may end up on the others.
  pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0);
#endif
  uint32_t seen = 0;
  while (!stop_.load()) {
    seen = WaitForJob(seen);
    // Enter first, then look: Run closes the job first and looks for workers inside second, so one
    // of the two always notices the other (both sequentially consistent).
    inside_.fetch_add(1);
    if ((epoch_.load() & 1) != 0) {
      if (next_task_.load(std::memory_order_relaxed) < n_tasks_) WakeSome();
      Work(worker);
    }
    if (inside_.fetch_sub(1) == 1 && caller_asleep_.load()) WakeOne(inside_);
  }
}

}  // namespace glint
