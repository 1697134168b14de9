#include "lib/system/machine_facts.h"

#include <sys/sysctl.h>
#include <sys/utsname.h>

namespace glint {
namespace {

// A number of the kernel's, of 32 or 64 bits; 0 if it has none of that name.
uint64_t Number(const std::string& name) {
  uint64_t number = 0;  // both Apple's processors are little-endian
  size_t bytes = sizeof number;
  return sysctlbyname(name.c_str(), &number, &bytes, nullptr, 0) == 0 ? number : 0;
}

}  // namespace

MachineFacts FindMachineFacts() {
  MachineFacts facts;
  facts.cores = static_cast<size_t>(Number("hw.physicalcpu"));
  // Of the performance cores, where there are kinds.
  const std::string level = Number("hw.nperflevels") > 1 ? "hw.perflevel0." : "hw.";
  const std::pair<const char*, const char*> caches[] = {
      {"L1d", "l1dcachesize"}, {"L2", "l2cachesize"}, {"L3", "l3cachesize"}};
  for (const auto& [name, key] : caches) {
    const uint64_t bytes = Number(level + key);
    if (bytes != 0) facts.caches.emplace_back(name, bytes);
  }
  utsname system = {};
  if (uname(&system) == 0) facts.kernel = std::string(system.sysname) + " " + system.release;
  return facts;
}

void CalendarTime(std::time_t time, std::tm* utc) { gmtime_r(&time, utc); }

}  // namespace glint
