#pragma once
#include <string>

#include "formats/output.h"

namespace glint {

// A .glint file in memory, in huge pages where the system has them; resident as far as written.
class OutputMemory : public Output {
 public:
  explicit OutputMemory(std::string name) : name_(std::move(name)) {}
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
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace glint
