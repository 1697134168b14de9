#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace glint {

enum class SourceType : uint8_t { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

// A tensor of a foreign checkpoint: contiguous, row-major, little-endian bytes at a place in a file.
struct SourceTensor {
  std::string name;
  SourceType type = SourceType::kF32;
  std::vector<uint64_t> shape;  // outermost first; empty for a scalar
  uint32_t file = 0;            // index into the checkpoint's files
  uint64_t offset = 0;          // of the first byte in that file
  uint64_t elements = 0;
};

// A Hugging Face folder (config.json; model.safetensors or pytorch_model.bin, single or sharded by
// an index.json), or one .safetensors or .bin file (its folder's config.json is read if there). Only
// the structure is read on opening; data is read by pread when asked for. Thread-safe for reading.
class Checkpoint {
 public:
  static std::unique_ptr<Checkpoint> Open(const std::string& path);  // throws Error
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;

  const std::string& path() const;
  const nlohmann::json& config() const;               // null if there is no config.json
  const std::vector<SourceTensor>& tensors() const;   // sorted by name
  const SourceTensor* Find(std::string_view name) const;  // null if absent
  const std::string& FileName(const SourceTensor& tensor) const;
  // Path of a file in the folder (tokenizer), or empty if it is not there.
  std::string FindFile(const std::string& name) const;

  // `count` elements from element `begin`, raw or as f32 (exact from f32, f16, bf16 and the integers up
  // to 16 bits; others refused). Throws Error (read error, file changed).
  void ReadRaw(const SourceTensor& tensor, uint64_t begin, uint64_t count, void* out) const;
  void ReadF32(const SourceTensor& tensor, uint64_t begin, uint64_t count, float* out) const;

 private:
  Checkpoint();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

const char* Name(SourceType type);   // "F32", ... as safetensors names them
uint64_t ElementBytes(SourceType type);

}  // namespace glint
