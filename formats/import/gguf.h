#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/import/gguf_metadata.h"
#include "formats/import/gguf_types.h"

namespace glint {

// A tensor of a GGUF file, row-major.
struct GgufTensor {
  std::string name;
  const GgmlType* type = nullptr;  // never of 0 block_elements; perhaps without decode
  std::vector<uint64_t> shape;     // outermost first (the file has it innermost first)
  uint32_t file = 0;               // index of the part
  uint64_t offset = 0;             // of the first byte in that file
  uint64_t elements = 0, bytes = 0;
};

// Whether `path` is a file that begins as a GGUF file does, whatever its name.
bool IsGguf(const std::string& path);

// A GGUF file, version 2 or 3, little-endian (ggml/docs/gguf.md); of a split one
// ("NAME-00001-of-00003.gguf") any part's path opens all of them. Only headers are read on opening;
// tensors by pread when asked for. Thread-safe for reading.
class Gguf {
 public:
  static std::unique_ptr<Gguf> Open(const std::string& path);  // throws Error
  ~Gguf();
  Gguf(const Gguf&) = delete;

  const std::string& path() const;
  uint32_t version() const;
  size_t parts() const;
  const std::string& PartPath(size_t part) const;       // part < parts()
  const GgufMetadata& metadata() const;                 // of the first part
  const std::vector<GgufTensor>& tensors() const;       // of all parts, sorted by name
  const GgufTensor* Find(std::string_view name) const;  // null if absent
  const std::string& FileName(const GgufTensor& tensor) const;

  // `count` elements from element `begin`, both multiples of the type's block, as they lie in the
  // file or as f32. Throws Error (not within the tensor, read error, file changed; ReadF32: a type
  // that cannot be decoded).
  void ReadRaw(const GgufTensor& tensor, uint64_t begin, uint64_t count, void* out) const;
  void ReadF32(const GgufTensor& tensor, uint64_t begin, uint64_t count, float* out) const;

 private:
  Gguf();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glint
