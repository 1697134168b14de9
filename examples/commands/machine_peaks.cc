#include "examples/commands/machine_peaks.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <thread>

#include "examples/commands/console.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

constexpr int kRounds = 5;
constexpr uint64_t kReadBytes = uint64_t{1} << 30;
constexpr double kDotSeconds = 0.05;  // of one round

// Runs `work` once on every thread of the pool; the seconds until all were done. A pool hands tasks
// out one by one, so each waits until every thread has one: a late start is not counted as work.
double OnEveryThread(ThreadPool& pool, const std::function<void(size_t)>& work) {
  const size_t n = pool.size();
  std::atomic<size_t> arrived{0};
  std::atomic<double> start{0};
  pool.Run(n, [&](size_t task, size_t) {
    if (arrived.fetch_add(1) + 1 == n) start.store(Now());
    while (start.load() == 0) std::this_thread::yield();
    work(task);
  });
  return Now() - start.load();
}

// Reads the same bytes again and again: the best round, in 10^9 bytes per second. `part` bytes per
// thread, a multiple of 64.
double ReadRate(const KernelTable& kernels, ThreadPool& pool, const uint8_t* data, uint64_t part) {
  std::atomic<uint64_t> sum{0};  // keeps the reads alive
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double seconds = OnEveryThread(
        pool, [&](size_t i) { sum.fetch_add(kernels.read_sum(data + i * part, part)); });
    best = std::max(best, static_cast<double>(part * pool.size()) / seconds * 1e-9);
  }
  return sum.load() == 1 ? 0 : best;
}

double ReadPeak(const KernelTable& kernels, ThreadPool& pool) {
  const size_t n = pool.size();
  const uint64_t part = (kReadBytes / n + 63) / 64 * 64;
  // In huge pages where there are any, the best that the machine can do. Not touched yet: each thread
  // touches its own part first, so that it lies near it.
  const auto release = [&](uint8_t* memory) { ReleasePages(memory, part * n); };
  const std::unique_ptr<uint8_t, decltype(release)> memory(
      ReservePages(part * n), release);
  uint8_t* const data = memory.get();
  if (!data) throw std::bad_alloc();
  OnEveryThread(pool,
                [&](size_t i) { std::memset(data + i * part, static_cast<int>(i + 1), part); });
  return ReadRate(kernels, pool, data, part);
}

// The same of the file's weights, where they lie: the first GiB of them.
double FileReadPeak(const KernelTable& kernels, ThreadPool& pool, const GlintFile& file) {
  const uint8_t* begin = nullptr;
  const uint8_t* end = nullptr;
  for (const Tensor& tensor : file.tensors()) {
    if (!begin || tensor.data < begin) begin = tensor.data;
    if (!end || tensor.data + tensor.bytes > end) end = tensor.data + tensor.bytes;
  }
  const uint64_t bytes = std::min<uint64_t>(static_cast<uint64_t>(end - begin), kReadBytes);
  return ReadRate(kernels, pool, begin, bytes / pool.size() / 64 * 64);
}

double DotPeak(const KernelTable& kernels, ThreadPool& pool) {
  // As many iterations as one thread does in the time of a round.
  int32_t sink = 1;
  uint64_t iterations = 1000;
  for (double seconds = 0; seconds < kDotSeconds / 4; iterations *= 2) {
    const double start = Now();
    kernels.dot_peak(iterations, &sink);
    seconds = Now() - start;
  }
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<uint64_t> done{0};
    const double seconds = OnEveryThread(pool, [&](size_t) {
      int32_t own = 1;
      done.fetch_add(kernels.dot_peak(2 * iterations, &own));
    });
    best = std::max(best, static_cast<double>(done.load()) / seconds * 1e-9);
  }
  return best;
}

}  // namespace

MachinePeaks MeasurePeaks(const KernelTable& kernels, ThreadPool& pool, const GlintFile& file) {
  MachinePeaks peaks = {ReadPeak(kernels, pool), DotPeak(kernels, pool),
                        FileReadPeak(kernels, pool, file)};
  // A file too large for the caches is memory like any other.
  if (file.bytes() >= kReadBytes) {
    peaks.read_gb_per_s = std::max(peaks.read_gb_per_s, peaks.file_read_gb_per_s);
  }
  return peaks;
}

}  // namespace glint
