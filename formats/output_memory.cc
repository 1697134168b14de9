#include "formats/output_memory.h"

#include <cstring>

#include "lib/error.h"
#include "lib/pages.h"

namespace glint {

OutputMemory::~OutputMemory() { ReleasePages(data_, bytes_); }

void OutputMemory::Resize(uint64_t bytes) {
  data_ = ReservePages(bytes);
  if (!data_) throw Error(name_ + ": no memory for " + std::to_string(bytes >> 20) + " MiB");
  bytes_ = bytes;
}

void OutputMemory::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  if (size != 0) std::memcpy(data_ + offset, data, size);
}

void OutputMemory::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  if (size != 0) std::memcpy(data, data_ + offset, size);
}

}  // namespace glint
