#pragma once
#include <cstddef>

// Memory with a page behind it that nobody may touch, for tests of what reads or writes too far.
#if defined(_WIN32)
#include "lib/system/windows.h"
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace glint {

#if defined(_WIN32)
inline size_t PageBytes() { return 4096; }
// `bytes` of memory, a whole number of pages, and one more page that faults.
inline char* MapGuarded(size_t bytes) {
  const size_t all = bytes + PageBytes();
  void* const map = VirtualAlloc(nullptr, all, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  DWORD before;
  if (map) VirtualProtect(static_cast<char*>(map) + bytes, PageBytes(), PAGE_NOACCESS, &before);
  return static_cast<char*>(map);
}
inline void UnmapGuarded(char* map, size_t) { VirtualFree(map, 0, MEM_RELEASE); }
#else
inline size_t PageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
// `bytes` of memory, a whole number of pages, and one more page that faults.
inline char* MapGuarded(size_t bytes) {
  void* const map = mmap(nullptr, bytes + PageBytes(), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  mprotect(static_cast<char*>(map) + bytes, PageBytes(), PROT_NONE);
  return static_cast<char*>(map);
}
inline void UnmapGuarded(char* map, size_t bytes) { munmap(map, bytes + PageBytes()); }
#endif

}  // namespace glint
