// The default number of threads, on made-up machines: folders that look like their /proc and /sys.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "lib/system/default_threads.h"
#include "lib/thread_pool.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

class Machine {
 public:
  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  void Cpu(int cpu, const std::string& name, const std::string& text) const {
    Write("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/" + name, text);
  }
  void Siblings(std::initializer_list<int> cpus, const std::string& list) const {
    for (const int cpu : cpus) Cpu(cpu, "topology/thread_siblings_list", list);
  }
  std::string root() const { return folder_; }

 private:
  std::string folder_ = TempDir();
};

std::vector<int> Cpus(int first, int last) {
  std::vector<int> cpus;
  for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  return cpus;
}

const char* const kV2Mount = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw";

// A machine whose process is in v2 group `group`.
void PutIntoGroup(const Machine& machine, const std::string& group) {
  machine.Write("/proc/self/mountinfo", kV2Mount);
  machine.Write("/proc/self/cgroup", "0::" + group);
}

}  // namespace

TEST_CASE("without /sys every processor counts, and nothing limits") {
  const Machine machine;
  CHECK(PhysicalCores(machine.root(), Cpus(0, 5)) == 6);
  CHECK(PhysicalCores(machine.root(), {}) == 0);
  CHECK(QuotaCpus(machine.root()) == 0);
}

TEST_CASE("threads of one core count once, within the affinity mask") {
  const Machine machine;
  machine.Siblings({0, 4}, "0,4");
  machine.Siblings({1, 5}, "1,5");
  machine.Siblings({2, 6}, "2,6");
  machine.Siblings({3, 7}, "3,7");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 7)) == 4);
  CHECK(PhysicalCores(machine.root(), {0, 4}) == 1);
  CHECK(PhysicalCores(machine.root(), {1, 4, 5}) == 2);
  // A processor that is offline is in no mask and has no topology; its sibling's list shrinks.
  machine.Siblings({3}, "3");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 6)) == 4);
}

TEST_CASE("Intel's hybrids: performance cores, once each") {
  const Machine machine;
  machine.Write("/sys/devices/cpu_core/cpus", "0-3");
  machine.Write("/sys/devices/cpu_atom/cpus", "4-7");
  machine.Siblings({0, 1}, "0-1");
  machine.Siblings({2, 3}, "2-3");
  for (int cpu = 4; cpu < 8; ++cpu) machine.Siblings({cpu}, std::to_string(cpu));
  CHECK(PhysicalCores(machine.root(), Cpus(0, 7)) == 2);
  CHECK(PhysicalCores(machine.root(), {2, 5, 6}) == 1);
  // Bound to efficiency cores: those.
  CHECK(PhysicalCores(machine.root(), Cpus(4, 6)) == 3);
}

TEST_CASE("a phone: cores of at least half the greatest capacity") {
  const Machine machine;
  for (int cpu = 0; cpu < 4; ++cpu) machine.Cpu(cpu, "cpu_capacity", "250");
  for (int cpu = 4; cpu < 7; ++cpu) machine.Cpu(cpu, "cpu_capacity", "800");
  machine.Cpu(7, "cpu_capacity", "1024");
  // The middle cores are clocked lower, which their capacity already says.
  for (int cpu = 4; cpu < 7; ++cpu) machine.Cpu(cpu, "cpufreq/cpuinfo_max_freq", "2000000");
  machine.Cpu(7, "cpufreq/cpuinfo_max_freq", "3000000");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 7)) == 4);
  CHECK(PhysicalCores(machine.root(), Cpus(0, 3)) == 4);
}

TEST_CASE("kinds that only frequencies tell apart") {
  const Machine machine;
  const auto frequencies = [&](int from, int to, const char* text) {
    for (int cpu = from; cpu < to; ++cpu) machine.Cpu(cpu, "cpufreq/cpuinfo_max_freq", text);
  };
  frequencies(0, 2, "5100000");
  frequencies(2, 6, "3500000");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 5)) == 2);
  // Turbo bins of one kind.
  frequencies(2, 6, "4700000");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 5)) == 6);
  // Not told of all: all.
  frequencies(6, 7, "");
  CHECK(PhysicalCores(machine.root(), Cpus(0, 6)) == 7);
}

TEST_CASE("cgroup v2: the quota, rounded, at least one") {
  const std::pair<const char*, size_t> kCases[] = {
      {"max 100000", 0},   {"50000 100000", 1},  {"140000 100000", 1}, {"350000 100000", 4},
      {"200000 50000", 4}, {"1000 100000", 1},   {"", 0},              {"nonsense", 0},
      {"0 100000", 0},     {"100000 0", 0}};
  for (const auto& [text, cpus] : kCases) {
    CAPTURE(text);
    const Machine machine;
    PutIntoGroup(machine, "/user.slice/run.scope");
    machine.Write("/sys/fs/cgroup/user.slice/run.scope/cpu.max", text);
    CHECK(QuotaCpus(machine.root()) == cpus);
  }
}

TEST_CASE("cgroup v2: the tightest of the group and those around it") {
  const Machine machine;
  PutIntoGroup(machine, "/a/b/c");
  machine.Write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000");
  machine.Write("/sys/fs/cgroup/a/b/cpu.max", "800000 100000");
  machine.Write("/sys/fs/cgroup/a/cpu.max", "300000 100000");
  CHECK(QuotaCpus(machine.root()) == 3);
  machine.Write("/sys/fs/cgroup/a/b/c/cpu.max", "200000 100000");
  CHECK(QuotaCpus(machine.root()) == 2);
}

TEST_CASE("cgroup v2 in a container") {
  SUBCASE("the group is the root of its own namespace") {
    const Machine machine;
    PutIntoGroup(machine, "/");
    machine.Write("/sys/fs/cgroup/cpu.max", "200000 100000");
    CHECK(QuotaCpus(machine.root()) == 2);
  }
  SUBCASE("the host's path, which does not exist inside") {
    const Machine machine;
    PutIntoGroup(machine, "/docker/0123456789abcdef");
    machine.Write("/sys/fs/cgroup/cpu.max", "200000 100000");
    CHECK(QuotaCpus(machine.root()) == 2);
  }
  SUBCASE("the mount shows a part of the hierarchy") {
    const Machine machine;
    machine.Write("/proc/self/mountinfo",
                  "31 23 0:28 /docker/01 /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw");
    machine.Write("/proc/self/cgroup", "0::/docker/01/job");
    machine.Write("/sys/fs/cgroup/job/cpu.max", "150000 100000");
    CHECK(QuotaCpus(machine.root()) == 2);
  }
  SUBCASE("the mount shows another group, whose name begins like the process's") {
    const Machine machine;
    machine.Write("/proc/self/mountinfo",
                  "31 23 0:28 /docker/01 /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw");
    machine.Write("/proc/self/cgroup", "0::/docker/012");
    machine.Write("/sys/fs/cgroup/cpu.max", "200000 100000");
    CHECK(QuotaCpus(machine.root()) == 2);
  }
  SUBCASE("the group is outside the namespace's root") {
    const Machine machine;
    PutIntoGroup(machine, "/../other");
    machine.Write("/sys/fs/cgroup/cpu.max", "200000 100000");
    CHECK(QuotaCpus(machine.root()) == 2);
  }
}

TEST_CASE("cgroup v1") {
  const Machine machine;
  machine.Write("/proc/self/mountinfo",
                "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct");
  machine.Write("/proc/self/cgroup", "9:name=systemd:/\n2:cpu,cpuacct:/box/inner\n0::/elsewhere");
  const std::string top = "/sys/fs/cgroup/cpu,cpuacct";
  machine.Write(top + "/box/inner/cpu.cfs_quota_us", "-1");
  machine.Write(top + "/box/inner/cpu.cfs_period_us", "100000");
  CHECK(QuotaCpus(machine.root()) == 0);
  machine.Write(top + "/box/cpu.cfs_quota_us", "300000");
  machine.Write(top + "/box/cpu.cfs_period_us", "100000");
  CHECK(QuotaCpus(machine.root()) == 3);
  // A second hierarchy of version 2 may limit further.
  machine.Write("/sys/fs/cgroup/elsewhere/cpu.max", "100000 100000");
  CHECK(QuotaCpus(machine.root()) == 3);  // it is not mounted
}

TEST_CASE("without a table of mounts the usual places are read") {
  const Machine machine;
  machine.Write("/proc/self/cgroup", "0::/x");
  machine.Write("/sys/fs/cgroup/x/cpu.max", "200000 100000");
  CHECK(QuotaCpus(machine.root()) == 2);
  const Machine old;
  old.Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000");
  old.Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  CHECK(QuotaCpus(old.root()) == 4);
}

TEST_CASE("this machine") { CHECK(DefaultThreads() >= 1); }
