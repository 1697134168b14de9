#pragma once
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>

#include "lib/thread_pool.h"

namespace glint {

// Runs fn(task, worker) on the pool; the first exception is thrown again here.
template <class Fn>
void RunThrowing(ThreadPool& pool, size_t n_tasks, const Fn& fn) {
  std::exception_ptr first;
  std::mutex mutex;
  std::atomic<bool> failed{false};
  pool.Run(n_tasks, [&](size_t task, size_t worker) {
    if (failed.load()) return;
    try {
      fn(task, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
      failed.store(true);
    }
  });
  if (first) std::rethrow_exception(first);
}

}  // namespace glint
