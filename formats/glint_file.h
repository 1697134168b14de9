#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lib/graph.h"
#include "lib/log.h"
#include "lib/tensor.h"

namespace glint {

class MappedFile;  // formats/mapped_file.h
// A JSON object. Held by pointer so that this header needs no JSON library.
struct DeleteJson {
  void operator()(nlohmann::json* section) const;
};
using JsonSection = std::unique_ptr<nlohmann::json, DeleteJson>;

// What a .glint file says apart from its tensors' bytes. docs/FORMAT.md is the specification.
struct ModelHeader {
  ModelHeader();
  ModelHeader(const ModelHeader&);
  ModelHeader(ModelHeader&&) noexcept;
  ModelHeader& operator=(const ModelHeader&);
  ModelHeader& operator=(ModelHeader&&) noexcept;
  ~ModelHeader();
  JsonSection metadata;   // name, source, licence, recipe, created_by, numerics
  JsonSection config;     // hyperparameters: dim, n_layers, ...
  JsonSection tokenizer;  // algorithm and options; null if there is none
  JsonSection prompt;     // chat format, special ids, position scheme, stop ids
  std::vector<Graph> graphs;
};

enum class LoadMode {
  kMap,
  kCopy
};  // kCopy: read into private memory, immune to changes of the file

struct LoadOptions {
  LoadMode mode = LoadMode::kMap;
  bool verify = false;  // reads every tensor and compares checksums, as Verify() does
  // Gets 0..1 in the calling thread, at least every 50 ms where the disk gives 20 MB/s; false stops
  // the load, which then throws Cancelled. May be empty.
  std::function<bool(double)> progress;
  Log log;  // may be empty
  uint64_t copy_limit = UINT64_MAX;  // bytes; kCopy: a larger file is refused
};

// A checked, open .glint file. Immutable and safe to share between threads. Owns the tensors'
// memory.
class GlintFile {
 public:
  // Opens `path` (UTF-8) and checks the whole structure, not the tensors' checksums: milliseconds
  // whatever the size. Throws Error.
  static std::unique_ptr<GlintFile> Open(const std::string& path, LoadMode mode = LoadMode::kMap);
  static std::unique_ptr<GlintFile> Open(const std::string& path, const LoadOptions& options);
  // The same of a descriptor that is open for reading (from its first byte, wherever it stands). It
  // stays the caller's, who may close it at once. `name` stands for the path in messages.
  static std::unique_ptr<GlintFile> OpenDescriptor(int descriptor, const std::string& name,
                                                   const LoadOptions& options = {});
  // The same over `size` bytes at `data` (copied if not 64-byte aligned), which must outlive the
  // object; it keeps `owner`, if given. `name` stands for the path in messages.
  static std::unique_ptr<GlintFile> FromMemory(const void* data, uint64_t size,
                                               const std::string& name,
                                               std::shared_ptr<const void> owner = nullptr,
                                               const LoadOptions& options = {});
  ~GlintFile();
  GlintFile(const GlintFile&) = delete;

  const std::string& path() const;
  uint64_t bytes() const;        // of the file
  uint64_t data_offset() const;  // where tensor data begins
  // Identifies the model: the checksum of the head, which holds those of all tensors. 0 where the head
  // holds none, as in the memory of a direct run: nothing then tells two such models apart.
  uint64_t Hash() const;
  const ModelHeader& header() const;
  // In file order. A tied tensor is listed too; its data is that of the tensor it is tied to.
  const std::vector<Tensor>& tensors() const;
  const std::string& TiedTo(size_t index) const;        // of tensors(); empty: not tied
  const Tensor* Find(std::string_view name) const;      // null if absent; also tied names
  const Graph* FindGraph(std::string_view name) const;  // null if absent
  // Reads every tensor and compares checksums, and finds padding that is not zero. Throws Error
  // naming the first tensor that differs. `progress` (may be empty) gets 0..1, and may throw.
  void Verify(const std::function<void(double)>& progress = {}) const;
  // Says that all tensors are about to be read: a map begins to read its file in the background. May
  // be called again and from several threads; only the first call does something.
  void ReadAhead() const;
  // Throws nothing: false if the file under a map is no longer the one opened (size, mtime, inode).
  bool Unchanged() const;

 private:
  GlintFile();
  static std::unique_ptr<GlintFile> OpenMapped(std::unique_ptr<MappedFile> file,
                                               const std::string& path, const LoadOptions& options);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glint
