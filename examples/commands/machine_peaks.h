#pragma once
#include <cstdint>

#include "formats/glint_file.h"
#include "lib/thread_pool.h"
#include "simd/kernels.h"

namespace glint {

// What this machine can do at most with these threads, by the kernels' own peak loops: what bench
// compares a model's speed with. Each is the best of five.
struct MachinePeaks {
  double read_gb_per_s = 0;   // of memory: 10^9 bytes per second, from a read of 1 GiB
  double dot_gmac_per_s = 0;  // of int8 multiply-adds on registers: 10^9 per second
  // Of the model's own pages, at most 1 GiB of them. Not a denominator: where it is below the
  // first, the pages hold decoding back (their size, or where the host has put them); where it is
  // above, the model fits into the processor's caches.
  double file_read_gb_per_s = 0;
};

// Takes 1 GiB of memory for a few seconds.
MachinePeaks MeasurePeaks(const KernelTable& kernels, ThreadPool& pool, const GlintFile& file);

}  // namespace glint
