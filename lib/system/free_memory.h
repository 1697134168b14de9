#pragma once
#include <cstdint>
#include <string>

namespace glint {

// Bytes that the process can still fill before the machine, or the tightest of the cgroups around
// it, has no more to give: what is free or can be dropped (pages of files, so also mapped weights),
// and swap. UINT64_MAX if nothing is known of it. `root` as in lib/system/cgroup.h.
uint64_t FreeMemory(const std::string& root = "");

}  // namespace glint
