#pragma once
#include <cstdint>

namespace glint {

// Where a model is written to: a file (formats/output_file.h) or memory (formats/output_memory.h).
// Throws Error.
class Output {
 public:
  virtual ~Output() = default;
  virtual void Resize(uint64_t bytes) = 0;  // once, before all else; zeros
  virtual void WriteAt(uint64_t offset, const void* data, uint64_t size) = 0;  // thread-safe
  virtual void ReadAt(uint64_t offset, void* data, uint64_t size) const = 0;   // thread-safe
  // After the last write.
  virtual void Commit() = 0;
  // The first byte, where the whole lies in memory and may be written there; else null. What is in
  // memory is not read back for checksums.
  virtual uint8_t* Memory() { return nullptr; }
};

}  // namespace glint
