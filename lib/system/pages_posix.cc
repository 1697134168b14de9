#include "lib/system/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#if defined(__APPLE__)
#include <mach/mach.h>
#endif

namespace glint {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
// What a program may ask for: half of what its pointers reach, so that differences of pointers fit too.
constexpr auto kMaxBytes = static_cast<uint64_t>(std::numeric_limits<ptrdiff_t>::max());

#if defined(__linux__)
#if defined(MADV_POPULATE_READ)
constexpr int kPopulateRead = MADV_POPULATE_READ;
#else
constexpr int kPopulateRead = 22;  // Linux 5.14; headers may be older than the kernel
#endif
#endif

void* MapZeroed(uint64_t bytes, int flags = 0) {
  flags |= MAP_PRIVATE | MAP_ANONYMOUS;
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

// Memory that begins on a huge page: reserved with room to spare, which is given back.
uint8_t* MapAligned(uint64_t bytes) {
  uint8_t* const all = static_cast<uint8_t*>(MapZeroed(bytes + kHugePage));
  if (!all) return nullptr;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t before = (kHugePage - reinterpret_cast<uintptr_t>(all) % kHugePage) % kHugePage;
  const uint64_t end = before + (bytes + page - 1) / page * page;
  if (before > 0) munmap(all, before);
  if (bytes + kHugePage > end) munmap(all + end, bytes + kHugePage - end);
  return all + before;
}

}  // namespace

uint8_t* ReservePages(uint64_t bytes) {
  bytes = std::max<uint64_t>(bytes, 1);
  if (bytes > kMaxBytes - 2 * kHugePage) return nullptr;
  if (bytes < kHugePage) return static_cast<uint8_t*>(MapZeroed(bytes));
  uint8_t* const data = MapAligned(bytes);
#if defined(MADV_HUGEPAGE)
  if (data) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return data;
}

uint8_t* ReserveSparse(uint64_t bytes) {
  bytes = std::max<uint64_t>(bytes, 1);
  if (bytes > kMaxBytes) return nullptr;
  void* const data = MapZeroed(bytes, MAP_NORESERVE);
#if defined(MADV_NOHUGEPAGE)
  if (data) madvise(data, bytes, MADV_NOHUGEPAGE);
#endif
  return static_cast<uint8_t*>(data);
}

void ReleasePages(uint8_t* data, uint64_t bytes) {
  if (data) munmap(data, std::max<uint64_t>(bytes, 1));
}

void ForbidWriting(uint8_t* data, uint64_t bytes) { mprotect(data, bytes, PROT_READ); }

void ReadInPages(const void* data, uint64_t bytes) {
  void* const at = const_cast<void*>(data);
#if defined(__linux__)
  if (madvise(at, bytes, kPopulateRead) == 0) return;
#endif
  madvise(at, bytes, MADV_WILLNEED);
}

#if defined(__APPLE__)
uint64_t PrivateMemory() {
  task_vm_info_data_t info = {};
  mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
  if (task_info(mach_task_self(), TASK_VM_INFO, reinterpret_cast<task_info_t>(&info), &count) !=
      KERN_SUCCESS) {
    return 0;
  }
  return info.phys_footprint;
}
#else
// Linux tells. "RssAnon:      1234 kB"
uint64_t PrivateMemory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) << 10;
  }
  return 0;
}
#endif

uint64_t MachineMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : 0;
}

}  // namespace glint
