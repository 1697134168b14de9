// How many threads a computation should use here: as lib/system/default_threads_posix.cc, from what macOS and iOS
// say. There is no affinity and no quota to heed.
#include <sys/sysctl.h>

#include <algorithm>
#include <thread>

#include "lib/thread_pool.h"

namespace glint {

size_t DefaultThreads() {
  // Level 0 are the performance cores; Macs with Intel's processors have no levels.
  for (const char* name : {"hw.perflevel0.physicalcpu", "hw.physicalcpu"}) {
    int cores = 0;
    size_t bytes = sizeof cores;
    if (sysctlbyname(name, &cores, &bytes, nullptr, 0) == 0 && cores > 0) {
      return static_cast<size_t>(cores);
    }
  }
  return std::max<size_t>(1, std::thread::hardware_concurrency());
}

}  // namespace glint
