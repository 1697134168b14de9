#include "formats/output_memory.h"

#include <cstring>

#include "lib/error.h"
#include "lib/pages.h"

namespace glint {

OutputMemory::~OutputMemory() {
  ReleasePages(data_, bytes_);
}

void OutputMemory::Resize(uint64_t bytes) {
  const uint64_t machine = MachineMemory();
  const std::string needs = name_ + ": needs " + std::to_string(bytes >> 20) + " MiB of memory";
  // Refused here, or the system would end the program half way.
  if (machine != 0 && bytes > machine) {
    throw Error(needs + ", the machine has " + std::to_string(machine >> 20) + " MiB");
  }
  data_ = ReservePages(bytes);
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
