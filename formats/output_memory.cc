#include "formats/output_memory.h"

#include <cstring>

#include "lib/error.h"
#include "lib/system/pages.h"

namespace glint {

OutputMemory::~OutputMemory() {
  ReleasePages(data_, bytes_);
}

void OutputMemory::Resize(uint64_t bytes) {
  const std::string needs =
      name_ + ": converted it takes " + std::to_string(bytes >> 20) + " MiB of memory";
  // Refused here, or the system would end the program half way.
  if (use_ == Use::kWhole && bytes > free_) {
    throw Error(needs + ", this machine has " + std::to_string(free_ >> 20) +
                " MiB free; a smaller --type takes less, and a file (--cache, or glint convert " +
                name_ + " -o MODEL.glint) is mapped and takes none");
  }
  data_ = use_ == Use::kWhole ? ReservePages(bytes) : ReserveSparse(bytes);
  if (!data_) throw Error(needs + ", which the system does not give");
  bytes_ = bytes;
}

void OutputMemory::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  if (size != 0) std::memcpy(data_ + offset, data, size);
}

void OutputMemory::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  if (size != 0) std::memcpy(data, data_ + offset, size);
}

}  // namespace glint
