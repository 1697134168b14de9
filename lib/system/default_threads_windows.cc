// How many threads a computation should use here: as lib/system/default_threads_posix.cc, from what Windows says.
#include <algorithm>
#include <thread>

#include "lib/system/cores_windows.h"
#include "lib/thread_pool.h"

namespace glint {
namespace {

// Cores of the fastest kind on which the process may run.
size_t FastCores() {
  DWORD_PTR process = 0, machine = 0;
  // 0 if the process runs in several groups of processors: then there is no limit.
  if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &machine)) process = 0;
  USHORT n_groups = 1, group = 0;
  const bool knows_group = GetProcessGroupAffinity(GetCurrentProcess(), &n_groups, &group);
  size_t n = 0;
  int fastest = 0;
  for (const CoreInfo& core : PhysicalCoresOfMachine()) {
    const bool is_elsewhere = knows_group && core.group != group;
    if (process != 0 && (is_elsewhere || (core.cpus & process) == 0)) continue;
    if (core.efficiency > fastest) n = 0;
    fastest = std::max(fastest, core.efficiency);
    if (core.efficiency == fastest) ++n;
  }
  return n;
}

// Processors' worth of time that the job around the process grants, rounded, at least 1; 0 if it
// limits nothing. Containers are such jobs.
size_t JobCpus() {
  JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate = {};
  if (!QueryInformationJobObject(nullptr, JobObjectCpuRateControlInformation, &rate, sizeof rate,
                                 nullptr)) {
    return 0;
  }
  constexpr DWORD kHard = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
  if ((rate.ControlFlags & kHard) != kHard) return 0;
  constexpr double kWhole = 10000;  // of all processors
  const double cpus = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) * (rate.CpuRate / kWhole);
  return std::max<size_t>(1, static_cast<size_t>(cpus + 0.5));
}

}  // namespace

size_t DefaultThreads() {
  size_t n = FastCores();
  const size_t quota = JobCpus();
  if (quota != 0 && (n == 0 || quota < n)) n = quota;
  if (n == 0) n = std::thread::hardware_concurrency();
  return std::max<size_t>(1, n);
}

}  // namespace glint
