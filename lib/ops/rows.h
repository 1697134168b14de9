#pragma once
#include <algorithm>
#include <cstddef>

#include "lib/thread_pool.h"
#include "simd/kernels.h"

namespace glint {

// Floats that one task should touch: enough to outweigh handing the task out.
inline constexpr size_t kTaskFloats = 16384;

// Calls fn(begin, end) over all of [0, n) in pieces of rows of `width` floats each, on the pool if there
// is more than one piece.
template <class Fn>
void ForRows(ThreadPool& pool, size_t n, size_t width, const Fn& fn) {
  const size_t rows = std::max<size_t>(1, kTaskFloats / std::max<size_t>(1, width));
  const size_t tasks = (n + rows - 1) / rows;
  pool.Run(tasks, [&](size_t task, size_t) {
    fn(task * rows, std::min(n, (task + 1) * rows));
  });
}

// The same in whole panels of the packed activations (simd/kernels.h), the last one excepted.
template <class Fn>
void ForPanels(ThreadPool& pool, size_t n, size_t width, const Fn& fn) {
  const size_t rows = std::max<size_t>(1, kTaskFloats / std::max<size_t>(1, width));
  const size_t whole = (rows + kPanelTokens - 1) / kPanelTokens * kPanelTokens;
  pool.Run((n + whole - 1) / whole, [&](size_t task, size_t) {
    fn(task * whole, std::min(n, (task + 1) * whole));
  });
}

}  // namespace glint
