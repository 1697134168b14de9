#include "lib/machine_info.h"

#include <ctime>
#include <string>
#include <thread>

#include "lib/system/clock.h"
#include "lib/system/machine_facts.h"
#include "lib/system/pages.h"
#include "simd/cpu_info.h"

namespace glint {
namespace {

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  UtcTime(now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

constexpr const char* kCompiler =
#if defined(__clang__)
    __VERSION__;  // says its name
#else
    "gcc " __VERSION__;
#endif

}  // namespace

nlohmann::ordered_json MachineInfo() {
  const MachineFacts facts = FindMachineFacts();
  nlohmann::ordered_json info = {{"cpu", CpuModelName()}};
  if (facts.cores != 0) info["cores"] = facts.cores;
  info["cpus"] = std::thread::hardware_concurrency();
  for (const auto& [name, bytes] : facts.caches) info["caches"][name] = bytes;
  if (const uint64_t bytes = MachineMemory(); bytes != 0) info["memory_bytes"] = bytes;
  if (!facts.kernel.empty()) info["kernel"] = facts.kernel;
  if (!facts.huge_pages.empty()) info["huge_pages"] = facts.huge_pages;
  info["compiler"] = kCompiler;
  info["date"] = UtcNow();
  return info;
}

}  // namespace glint
