// How many threads a computation should use here. Hyper-threads and efficiency cores slow a
// memory-bound loop down, and a thread beyond the cgroup's quota only gets the others throttled.
#include "lib/system/default_threads.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include "lib/system/cgroup.h"
#include "lib/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace glint {
namespace {

constexpr int kMaxCpus = 1 << 16;  // of a list in a file
// A core whose maximal frequency is below this share of the fastest core's is one of another kind.
// Cores of one kind differ by their turbo bins, by some 10% at most; efficiency cores, by 25% or more.
constexpr double kFrequencyShare = 0.8;

// A whole number, whatever the locale.
double Number(const std::string& text) { return static_cast<double>(std::atoll(text.c_str())); }

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
    for (int cpu = std::max(first, 0); cpu <= std::min(last, kMaxCpus); ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

// Keeps the CPUs for which `value` is at least `share` of the greatest. What says nothing (0) counts
// as great, so a machine that tells of some CPUs only keeps them all.
template <class Value>
void KeepFast(std::vector<int>* cpus, double share, const Value& value) {
  double greatest = 0;
  for (const int cpu : *cpus) greatest = std::max(greatest, value(cpu));
  std::erase_if(*cpus, [&](int cpu) {
    const double mine = value(cpu);
    return mine > 0 && mine < share * greatest;
  });
}

// Processors that one group's own files grant; 0 if they limit nothing.
double GroupQuota(const std::string& folder) {
  double quota = 0, period = 0;
  std::istringstream max(FirstLine(folder + "/cpu.max"));  // v2: "max 100000", "50000 100000"
  if (!(max >> quota >> period)) {
    quota = Number(FirstLine(folder + "/cpu.cfs_quota_us"));  // v1: -1 is no limit
    period = Number(FirstLine(folder + "/cpu.cfs_period_us"));
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

size_t PhysicalCores(const std::string& root, const std::vector<int>& cpus) {
  const auto file = [&](int cpu, const char* name) {
    return FirstLine(root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/" + name);
  };
  std::vector<int> fast = cpus;
  // Intel's hybrids list their performance cores. If we may run on none of them, the others it is.
  const std::set<int> performance = ParseCpuList(FirstLine(root + "/sys/devices/cpu_core/cpus"));
  const auto is_fast = [&](int cpu) { return performance.count(cpu) != 0; };
  if (std::any_of(fast.begin(), fast.end(), is_fast)) {
    std::erase_if(fast, [&](int cpu) { return !is_fast(cpu); });
  }
  // A capacity out of 1024: the middle ones of a phone still pay. Where the capacities are all alike,
  // or unknown as in older kernels on x86, the frequencies may tell the kinds apart.
  KeepFast(&fast, 0.5, [&](int cpu) { return Number(file(cpu, "cpu_capacity")); });
  const bool has_kinds = !performance.empty() || fast.size() < cpus.size();
  std::set<std::string> capacities;
  for (const int cpu : fast) capacities.insert(file(cpu, "cpu_capacity"));
  if (!has_kinds && capacities.size() <= 1) {
    KeepFast(&fast, kFrequencyShare,
             [&](int cpu) { return Number(file(cpu, "cpufreq/cpuinfo_max_freq")); });
  }
  std::set<std::string> cores;
  for (const int cpu : fast) {
    const std::string siblings = file(cpu, "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return cores.size();
}

size_t QuotaCpus(const std::string& root) {
  double least = 0;
  for (const std::string& folder : CgroupFolders(root, "cpu")) {
    const double quota = GroupQuota(folder);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  return least > 0 ? std::max<size_t>(1, static_cast<size_t>(least + 0.5)) : 0;
}

size_t DefaultThreads() {
  size_t n = 0;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  n = PhysicalCores("", cpus);
  const size_t quota = QuotaCpus("");
  if (quota != 0 && (n == 0 || quota < n)) n = quota;
#endif
  if (n == 0) n = std::thread::hardware_concurrency();
  return std::max<size_t>(1, n);
}

}  // namespace glint
