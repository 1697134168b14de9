// How many threads a computation should use here. Hyper-threads and efficiency cores slow a
// memory-bound loop down, and a thread beyond the cgroup's quota only gets the others throttled.
#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "lib/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace glint {
namespace {

#if defined(__linux__)
std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string CpuFile(int cpu, const char* name) {
  return FirstLine("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/" + name);
}

// The CPUs of a list such as "0-3,8"; empty if it is.
std::set<int> ParseCpuList(const std::string& list) {
  std::set<int> cpus;
  std::istringstream in(list);
  for (std::string range; std::getline(in, range, ',');) {
    int first = 0, last = 0;
    char dash = 0;
    std::istringstream ends(range);
    if (!(ends >> first)) continue;
    if (!(ends >> dash >> last)) last = first;
    for (int cpu = first; cpu <= last && cpu < CPU_SETSIZE; ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

// Distinct cores among the CPUs that we may run on; the fast kind only where there are two kinds.
size_t PhysicalCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  std::set<int> ours;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) ours.insert(cpu);
  }
  // Intel's hybrids list their performance cores; Arm's cores state a capacity out of 1024, and the
  // middle ones of a phone still pay.
  const std::set<int> performance = ParseCpuList(FirstLine("/sys/devices/cpu_core/cpus"));
  const auto capacity = [](int cpu) { return std::atol(CpuFile(cpu, "cpu_capacity").c_str()); };
  long largest = 0;
  for (const int cpu : ours) largest = std::max(largest, capacity(cpu));
  std::set<std::string> cores;
  for (const int cpu : ours) {
    if (!performance.empty() && performance.count(cpu) == 0) continue;
    if (capacity(cpu) * 2 < largest) continue;
    const std::string siblings = CpuFile(cpu, "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return cores.empty() ? ours.size() : cores.size();
}

// CPUs' worth of time that the cgroup (v2, then v1) grants; 0 if unlimited or unknown.
size_t QuotaCpus() {
  std::string group;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("0::", 0) == 0) group = line.substr(3);
  }
  double least = 0;
  const auto consider = [&](double quota, double period) {
    if (quota > 0 && period > 0 && (least == 0 || quota / period < least)) least = quota / period;
  };
  for (std::string at = group;; at = at.substr(0, at.find_last_of('/'))) {
    std::istringstream max(FirstLine("/sys/fs/cgroup" + at + "/cpu.max"));
    double quota = 0, period = 0;
    if (max >> quota >> period) consider(quota, period);
    if (at.empty() || at.find('/') == std::string::npos) break;
  }
  consider(std::atof(FirstLine("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").c_str()),
           std::atof(FirstLine("/sys/fs/cgroup/cpu/cpu.cfs_period_us").c_str()));
  return least > 0 ? std::max<size_t>(1, static_cast<size_t>(least + 0.5)) : 0;
}
#endif

}  // namespace

size_t DefaultThreads() {
  size_t n = 0;
#if defined(__linux__)
  n = PhysicalCores();
  const size_t quota = QuotaCpus();
  if (quota != 0 && (n == 0 || quota < n)) n = quota;
#endif
  if (n == 0) n = std::thread::hardware_concurrency();
  return std::max<size_t>(1, n);
}

}  // namespace glint
