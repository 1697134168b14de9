#include <set>

#include "lib/system/cores_windows.h"
#include "lib/system/machine_facts.h"

namespace glint {
namespace {

// The caches of one core come first. One of each name is told.
std::vector<std::pair<std::string, uint64_t>> Caches() {
  std::vector<std::pair<std::string, uint64_t>> caches;
  std::set<std::string> seen;
  for (const CacheInfo& cache : CachesOfMachine()) {
    if (cache.is_instruction) continue;
    const std::string name = "L" + std::to_string(cache.level) + (cache.is_data ? "d" : "");
    if (seen.insert(name).second) caches.emplace_back(name, cache.bytes);
  }
  return caches;
}

// GetVersion tells a program that names no version it knows that it runs on Windows 8.
std::string Version() {
  using Function = LONG(WINAPI*)(OSVERSIONINFOW*);
  const HMODULE module = GetModuleHandleW(L"ntdll.dll");
  const FARPROC address = module ? GetProcAddress(module, "RtlGetVersion") : nullptr;
  OSVERSIONINFOW version = {};
  version.dwOSVersionInfoSize = sizeof version;
  if (!address) return "";
  if (reinterpret_cast<Function>(reinterpret_cast<void*>(address))(&version) != 0) return "";
  return "Windows " + std::to_string(version.dwMajorVersion) + "." +
         std::to_string(version.dwMinorVersion) + "." + std::to_string(version.dwBuildNumber);
}

}  // namespace

MachineFacts FindMachineFacts() {
  MachineFacts facts;
  facts.cores = PhysicalCoresOfMachine().size();
  facts.caches = Caches();
  facts.kernel = Version();
  return facts;
}

}  // namespace glint
