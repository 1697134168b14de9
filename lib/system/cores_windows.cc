#include "lib/system/cores_windows.h"

#include <memory>

namespace glint {
namespace {

using Record = SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX;

// Calls `use` for each record of a kind.
template <class Use>
void ForEach(LOGICAL_PROCESSOR_RELATIONSHIP kind, const Use& use) {
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(kind, nullptr, &bytes);
  if (bytes == 0) return;
  const std::unique_ptr<uint8_t[]> memory(new uint8_t[bytes]);
  auto* const first = reinterpret_cast<Record*>(memory.get());
  if (!GetLogicalProcessorInformationEx(kind, first, &bytes)) return;
  for (DWORD at = 0; at + sizeof(DWORD) * 2 <= bytes;) {
    const auto* const record = reinterpret_cast<const Record*>(memory.get() + at);
    if (record->Size == 0) return;
    if (record->Relationship == kind) use(*record);
    at += record->Size;
  }
}

}  // namespace

std::vector<CoreInfo> PhysicalCoresOfMachine() {
  std::vector<CoreInfo> cores;
  ForEach(RelationProcessorCore, [&](const Record& record) {
    const PROCESSOR_RELATIONSHIP& core = record.Processor;
    // Its field EfficiencyClass, which older headers of mingw-w64 call reserved.
    const int efficiency = reinterpret_cast<const BYTE*>(&core)[1];
    cores.push_back({core.GroupMask[0].Group, core.GroupMask[0].Mask, efficiency});
  });
  return cores;
}

std::vector<CacheInfo> CachesOfMachine() {
  std::vector<CacheInfo> caches;
  ForEach(RelationCache, [&](const Record& record) {
    const CACHE_RELATIONSHIP& cache = record.Cache;
    caches.push_back({cache.Level, cache.Type == CacheInstruction, cache.Type == CacheData,
                      cache.CacheSize});
  });
  return caches;
}

}  // namespace glint
