#pragma once
#include <cstdint>

#include "lib/thread_pool.h"
#include "simd/kernels.h"

namespace glint {

// What this machine can do at most with these threads, by the kernels' own peak loops: what bench
// compares a model's speed with. Each is the best of five.
struct MachinePeaks {
  double read_gb_per_s = 0;   // of memory: 10^9 bytes per second, from a read of 1 GiB
                              // in huge pages, where the system has them
  double dot_gmac_per_s = 0;  // of int8 multiply-adds on registers: 10^9 per second
};

// Takes 1 GiB of memory for a few seconds.
MachinePeaks MeasurePeaks(const KernelTable& kernels, ThreadPool& pool);

}  // namespace glint
