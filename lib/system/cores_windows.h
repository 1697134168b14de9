#pragma once
// For the files named *_windows.cc alone.
#include <cstdint>
#include <vector>

#include "lib/system/windows.h"

namespace glint {

struct CoreInfo {
  WORD group;
  KAFFINITY cpus;      // of the group
  int efficiency;      // greater is faster
};

struct CacheInfo {
  int level;
  bool is_instruction, is_data;
  uint32_t bytes;
};

std::vector<CoreInfo> PhysicalCoresOfMachine();
std::vector<CacheInfo> CachesOfMachine();

}  // namespace glint
