#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/glint_file.h"
#include "formats/output.h"

namespace glint {

// A tensor to be written; or, with `tied_to` set, a second name of an earlier one (its other fields
// are then ignored).
struct TensorPlan {
  std::string name;
  DType dtype = DType::kF32;
  BlockOffset offset = BlockOffset::kNone;
  std::vector<uint64_t> shape;
  std::string tied_to;  // empty: has data of its own
};

// Writes a .glint file without holding it in memory: the plan first, then the tensors' bytes in any
// order, a piece at a time. The file has its final name only after Finish; until then, and after
// any error or kill, there is at most a temporary file. The same plan and bytes give the same file.
// Throws Error.
class GlintWriter {
 public:
  // `plan` fixes names, types, shapes and with them every offset. Every graph and tensor is checked
  // as the reader would. Refuses an existing `path` unless `overwrite`.
  GlintWriter(const std::string& path, const ModelHeader& header, std::vector<TensorPlan> plan,
              bool overwrite);
  // The same into any output, not yet resized; `name` stands for the path in messages. What lies in
  // memory gets no checksums: they would be of bytes that nobody else can reach.
  GlintWriter(std::shared_ptr<Output> output, const std::string& name, const ModelHeader& header,
              std::vector<TensorPlan> plan);
  ~GlintWriter();  // without Finish: removes the temporary file
  GlintWriter(const GlintWriter&) = delete;
  GlintWriter& operator=(const GlintWriter&) = delete;

  uint64_t TensorSize(size_t index) const;  // bytes of tensor `index` of the plan
  uint64_t FileSize() const;                // bytes of the whole file

  // Writes `size` bytes at `offset` within tensor `index` of the plan. Pieces may come in any
  // order; bytes never written are zero. Thread-safe for disjoint pieces.
  void Write(size_t index, uint64_t offset, const void* data, uint64_t size);
  // Where tensor `index` lies if the output is memory: zeros, to be written in place. Else null.
  uint8_t* Memory(size_t index);

  // Checksums, header, fsync, rename, fsync of the folder. `progress` (may be empty) gets 0..1.
  void Finish(const std::function<void(double)>& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glint
