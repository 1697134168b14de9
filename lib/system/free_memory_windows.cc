#include <algorithm>

#include "lib/system/free_memory.h"
#include "lib/system/windows.h"

namespace glint {
namespace {

// What the job around the process, as containers have one, leaves it.
uint64_t RoomOfJob() {
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {};
  if (!QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &limits,
                                 sizeof limits, nullptr)) {
    return UINT64_MAX;
  }
  uint64_t room = UINT64_MAX;
  const DWORD flags = limits.BasicLimitInformation.LimitFlags;
  if (flags & JOB_OBJECT_LIMIT_JOB_MEMORY) room = limits.JobMemoryLimit;
  if (flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) {
    room = std::min<uint64_t>(room, limits.ProcessMemoryLimit);
  }
  return room;
}

}  // namespace

// Windows promises no more than RAM and page file hold: what is left of that, not what is free in RAM.
uint64_t FreeMemory(const std::string&) {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) return UINT64_MAX;
  return std::min<uint64_t>(status.ullAvailPageFile, RoomOfJob());
}

}  // namespace glint
