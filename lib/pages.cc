#include "lib/pages.h"

#include <sys/mman.h>

#include <algorithm>

namespace glint {

uint8_t* ReservePages(uint64_t bytes) {
  void* data = mmap(nullptr, std::max<uint64_t>(bytes, 1), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<uint8_t*>(data);
}

void ReleasePages(uint8_t* data, uint64_t bytes) {
  if (data) munmap(data, std::max<uint64_t>(bytes, 1));
}

}  // namespace glint
