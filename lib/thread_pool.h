#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace glint {

// A fixed set of threads that share the tasks of one job at a time.  Tasks are handed out one by one, so slow and fast cores finish together; whoever waits
// spins for a bounded time and then sleeps. The calling thread works too, and never waits for a worker
// that has not started, so an oversubscribed machine degrades gently. docs/ARCHITECTURE.md has times.
class ThreadPool {
 public:
  // n_threads counts the calling thread; at least 1. Throws Error if the system refuses a thread.
  explicit ThreadPool(size_t n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;

  size_t size() const { return workers_.size() + 1; }

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

  // From now on adds the nanoseconds that threads spend inside tasks to *busy (null: no longer).
  // What a job's threads spent is there when its Run returns.
  void CountBusy(std::atomic<int64_t>* busy) { busy_ = busy; }

 private:
  using TaskFn = void (*)(const void* fn, size_t task, size_t worker);
  void Stop();
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
