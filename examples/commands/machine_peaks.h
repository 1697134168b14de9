#pragma once
#include <cstdint>

#include "formats/glint_file.h"
#include "lib/thread_pool.h"
#include "simd/kernels.h"

namespace glint {

// What this machine can do at most with these threads, by the kernels' own peak loops: what bench
// compares a model's speed with. Each is the best of five.
struct MachinePeaks {
  // Of memory: 10^9 bytes per second, from a read of 1 GiB: of fresh memory, in huge pages where the
  // system has them, and of the model's own pages if it is that large; the greater.
  double read_gb_per_s = 0;
  double dot_gmac_per_s = 0;  // of int8 multiply-adds on registers: 10^9 per second
  // Of the model's own pages, at most 1 GiB of them. Where it is below the first, the pages hold
  // decoding back (their size, or where the host has put them); a small model is in the caches.
  double file_read_gb_per_s = 0;
};

// Takes 1 GiB of memory for a few seconds.
MachinePeaks MeasurePeaks(const KernelTable& kernels, ThreadPool& pool, const GlintFile& file);

}  // namespace glint
