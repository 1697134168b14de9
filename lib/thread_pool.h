#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace glint {

// Threads of the caller's own, in place of a ThreadPool's. Copied; what `user` leads to must outlive its
// use. `run` calls task(context, i, worker) for each i < n_tasks, in any order, on any threads, side by
// side or one after another, and returns when all have returned and what they wrote can be seen. It is
// called by the thread that uses the session, by several at once where sessions share the pool. Tasks
// neither throw nor wait for each other; n_tasks is at most `threads`, of which each takes all the
// work it finds, so a pool without a free thread costs speed and nothing else. Which task and worker
// it says is never relied on: no memory is chosen by them.
struct ExternalPool {
  size_t threads = 0;  // that work at the same time at most; 1 to kMaxThreads
  void* user = nullptr;
  void (*run)(void* user, size_t n_tasks, void (*task)(void* context, size_t task, size_t worker),
              void* context) = nullptr;
};
inline constexpr size_t kMaxThreads = 1024;

// A fixed set of threads that share the tasks of one job at a time.  Tasks are handed out one by one, so slow and fast cores finish together; whoever waits
// spins for a bounded time and then sleeps. The calling thread works too, and never waits for a worker
// that has not started, so an oversubscribed machine degrades gently. docs/ARCHITECTURE.md has times.
class ThreadPool {
 public:
  // n_threads counts the calling thread; at least 1. Throws Error if the system refuses a thread.
  explicit ThreadPool(size_t n_threads);
  // Throws Error for no threads, too many, or no function.
  explicit ThreadPool(const ExternalPool& external);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  size_t size() const { return external_.run ? external_.threads : workers_.size() + 1; }

  // Calls fn(task, worker) once for each task < n_tasks, worker < size(), and returns when all are
  // done. One Run at a time. fn must not throw.
  template <class Fn>
  void Run(size_t n_tasks, const Fn& fn) {
    RunErased(
        n_tasks,
        [](const void* f, size_t task, size_t worker) {
          (*static_cast<const Fn*>(f))(task, worker);
        },
        &fn);
  }

  // While one lives, tasks that have not begun when *stop (may be null) is seen to be true are not
  // done any more, nor any that follow, even if *stop becomes false again: then WasCut() is true, and
  // what the tasks should have made is undefined.
  class StopScope {
   public:
    StopScope(ThreadPool& pool, const std::atomic<bool>* stop) : pool_(pool) {
      pool_.stop_tasks_ = stop;
      pool_.cut_.store(false, std::memory_order_relaxed);
    }
    ~StopScope() {
      pool_.stop_tasks_ = nullptr;
      pool_.cut_.store(false, std::memory_order_relaxed);
    }
    StopScope(const StopScope&) = delete;

   private:
    ThreadPool& pool_;
  };
  bool WasCut() const { return cut_.load(std::memory_order_relaxed); }

  // From now on adds the nanoseconds that threads spend inside tasks to *busy (null: no longer).
  // What a job's threads spent is there when its Run returns.
  void CountBusy(std::atomic<int64_t>* busy) { busy_ = busy; }

 private:
  using TaskFn = void (*)(const void* fn, size_t task, size_t worker);
  void Stop();
  bool MustStop();
  void RunExternal();
  void RunErased(size_t n_tasks, TaskFn call, const void* fn);
  void WaitForWorkers();
  void WakeSome();
  void WorkerLoop(size_t worker);
  void RunTasks(size_t worker);
  uint32_t WaitForJob(uint32_t seen);
  void Work(size_t worker);

  const std::chrono::nanoseconds spin_time_;  // of a worker that waits for a job
  // The job: written by Run while no worker is inside.
  TaskFn call_ = nullptr;
  const void* fn_ = nullptr;
  size_t n_tasks_ = 0;
  std::atomic<int64_t>* busy_ = nullptr;
  const std::atomic<bool>* stop_tasks_ = nullptr;
  std::atomic<bool> cut_{false};
  ExternalPool external_;
  std::atomic<size_t> next_worker_{0};  // of the external pool's calls for one job
  // On lines of their own: the counter is written by all who work, the epoch is read by all who wait.
  alignas(64) std::atomic<size_t> next_task_{0};

  // Epoch of the latest job; workers wait for it to change. Odd while a job is open to join.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<uint32_t> asleep_{0};  // workers
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> inside_{0};  // workers that have joined and not left
  std::atomic<bool> caller_asleep_{false};
  std::vector<std::thread> workers_;
};

// Threads to use by default: physical performance cores within this process's affinity mask and its
// cgroup's CPU quota. At least 1.
size_t DefaultThreads();

}  // namespace glint
