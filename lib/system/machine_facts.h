#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace glint {

// What the operating system tells of the machine for lib/machine_info; there is a machine_facts_posix.cc
// and a machine_facts_windows.cc. Empty or 0: unknown.
struct MachineFacts {
  size_t cores = 0;                                        // physical
  std::vector<std::pair<std::string, uint64_t>> caches;    // of the first processor: "L1d", bytes
  std::string kernel;                                      // "Linux 6.1.0"
  std::string huge_pages;                                  // "madvise"
};
MachineFacts FindMachineFacts();

}  // namespace glint
