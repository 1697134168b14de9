#include "lib/system/free_memory.h"

#include <TargetConditionals.h>
#include <mach/mach.h>
#if TARGET_OS_IPHONE
#include <os/proc.h>
#endif

namespace glint {

#if TARGET_OS_IPHONE

// iOS kills an app above its limit; this is what is left of it. 0: no limit is known.
uint64_t FreeMemory(const std::string&) {
  const size_t left = os_proc_available_memory();
  return left == 0 ? UINT64_MAX : left;
}

#else

// Pages that are free or can be dropped or written back. Swap grows as the disk allows, so it is not
// counted; macOS gives no number for it in advance.
uint64_t FreeMemory(const std::string&) {
  vm_statistics64_data_t pages = {};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  vm_size_t page = 0;
  const mach_port_t host = mach_host_self();
  const bool knows = host_page_size(host, &page) == KERN_SUCCESS &&
                     host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages),
                                       &count) == KERN_SUCCESS;
  mach_port_deallocate(mach_task_self(), host);
  if (!knows) return UINT64_MAX;
  // free_count holds the speculative ones; inactive ones are mostly files', mapped weights among them.
  return (uint64_t{pages.free_count} + pages.inactive_count + pages.purgeable_count) * page;
}

#endif

}  // namespace glint
