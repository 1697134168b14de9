#pragma once
#include <string>

#include "formats/output.h"
#include "lib/system/free_memory.h"

namespace glint {

// A .glint file in memory, in huge pages where the system has them; resident as far as written.
class OutputMemory : public Output {
 public:
  // kWhole: all of it will be written, and Resize throws Error, with figures and ways out, where that
  // is more than `free` bytes. kOutline: little of it will be (WriteOptions::outline), so that it may
  // be larger than the machine's memory.
  enum class Use : uint8_t { kWhole, kOutline };
  explicit OutputMemory(std::string name, Use use = Use::kWhole, uint64_t free = FreeMemory())
      : name_(std::move(name)), use_(use), free_(free) {}
  ~OutputMemory() override;
  OutputMemory(const OutputMemory&) = delete;
  OutputMemory& operator=(const OutputMemory&) = delete;

  void Resize(uint64_t bytes) override;
  void WriteAt(uint64_t offset, const void* data, uint64_t size) override;
  void ReadAt(uint64_t offset, void* data, uint64_t size) const override;
  void Commit() override {}
  uint8_t* Memory() override { return data_; }

  const std::string& name() const { return name_; }  // stands for the path in messages
  const uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  std::string name_;
  Use use_;
  uint64_t free_;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace glint
