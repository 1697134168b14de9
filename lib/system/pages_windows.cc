#include <algorithm>

#include "lib/system/pages.h"
#include "lib/system/windows.h"
// After windows.h; version 2 is in kernel32.
#define PSAPI_VERSION 2
#include <psapi.h>

namespace glint {

// Large pages would need a privilege that users do not have, and could not be swapped out. All that is
// reserved counts against what the machine may promise (RAM and page file), touched or not.
uint8_t* ReservePages(uint64_t bytes) {
  if (bytes > SIZE_MAX) return nullptr;
  return static_cast<uint8_t*>(VirtualAlloc(nullptr, static_cast<SIZE_T>(std::max<uint64_t>(bytes, 1)),
                                            MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
}

uint8_t* ReserveSparse(uint64_t bytes) { return ReservePages(bytes); }

void ReleasePages(uint8_t* data, uint64_t) {
  if (data) VirtualFree(data, 0, MEM_RELEASE);
}

void ForbidWriting(uint8_t* data, uint64_t bytes) {
  DWORD before;
  VirtualProtect(data, static_cast<SIZE_T>(bytes), PAGE_READONLY, &before);
}

void ReadInPages(const void* data, uint64_t bytes) {
  WIN32_MEMORY_RANGE_ENTRY range = {const_cast<void*>(data), static_cast<SIZE_T>(bytes)};
  PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

uint64_t PrivateMemory() {
  PROCESS_MEMORY_COUNTERS counters = {};
  counters.cb = sizeof counters;
  return GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters)
             ? counters.PagefileUsage
             : 0;
}

uint64_t MachineMemory() {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : 0;
}

}  // namespace glint
