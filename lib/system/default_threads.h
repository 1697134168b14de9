#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace glint {

// What Linux says about this machine's processors and this process's share of them. `root` is put
// before each absolute path: empty in production, a folder with made-up proc/ and sys/ in tests.

// How many of `cpus` (those that the process may run on) are worth a thread: one per physical core,
// performance cores only where there are slower ones too. At least 1 unless `cpus` is empty.
size_t PhysicalCores(const std::string& root, const std::vector<int>& cpus);

// Processors' worth of time that the process's cgroup and those around it grant, rounded, at least 1;
// 0 if there is no limit or none is known. Reads v2 and v1.
size_t QuotaCpus(const std::string& root);

}  // namespace glint
