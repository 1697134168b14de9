// How many threads a computation should use here. Hyper-threads and efficiency cores slow a
// memory-bound loop down, and a thread beyond the cgroup's quota only gets the others throttled.
#include "lib/default_threads.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

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

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

double Number(const std::string& text) { return std::atof(text.c_str()); }

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

// A cgroup file system as the process sees it: where it is mounted, which folder of the hierarchy is
// its root, and the process's own group in the hierarchy.
struct CgroupMount {
  std::string at, base, group;
};

// The folder of the process's group below the mount's. A container often shows the host's path, which
// does not exist inside; then the mount's own root is the group.
std::string GroupBelow(const CgroupMount& mount) {
  std::string group = mount.group;
  if (mount.base != "/" && (group + "/").rfind(mount.base + "/", 0) == 0) {
    group = group.substr(mount.base.size());
  }
  while (!group.empty() && group.back() == '/') group.pop_back();
  return group;
}

// Mount points of cgroup v2 and of v1's cpu controller, with the process's group in each.
std::vector<CgroupMount> CgroupMounts(const std::string& root) {
  std::map<std::string, std::string> groups;  // of each hierarchy: "" for v2, "cpu" for v1
  std::ifstream own(root + "/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == ",,") groups[""] = line.substr(second + 1);
    if (controllers.find(",cpu,") != std::string::npos) groups["cpu"] = line.substr(second + 1);
  }
  std::vector<CgroupMount> mounts;
  std::ifstream table(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    // ID PARENT DEVICE BASE AT OPTIONS... - TYPE SOURCE SUPER_OPTIONS
    std::istringstream fields(line);
    std::string skip, base, at, type, options;
    fields >> skip >> skip >> skip >> base >> at;
    while (fields >> skip && skip != "-") {
    }
    fields >> type >> skip >> options;
    const bool is_v1 = type == "cgroup" && ("," + options + ",").find(",cpu,") != std::string::npos;
    if (type != "cgroup2" && !is_v1) continue;
    mounts.push_back({at, base, groups[is_v1 ? "cpu" : ""]});
  }
  // Without the table: the usual places.
  if (mounts.empty()) {
    mounts = {{"/sys/fs/cgroup", "/", groups[""]}, {"/sys/fs/cgroup/cpu", "/", groups["cpu"]}};
  }
  return mounts;
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
  for (const CgroupMount& mount : CgroupMounts(root)) {
    const std::string top = root + mount.at;
    // The own group and every one around it, up to the mount's.
    for (std::string group = GroupBelow(mount);; group.erase(group.find_last_of('/'))) {
      const double quota = GroupQuota(top + group);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      if (group.find('/') == std::string::npos) break;
    }
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
