#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "formats/architectures/architecture.h"
#include "formats/convert/packed_format.h"
#include "formats/convert/source_model.h"
#include "formats/import/checkpoint.h"

namespace glint {

struct Slab;      // packed_matrix.cc
class SlabCache;  // packed_matrix.cc

// One packed layer of a checkpoint (packed_format.h) as a matrix (rows, cols) of ours: its numbers
// are int4a's, scale and zero repeated for each block of 32 columns of a group. Where the groups are
// not consecutive ("act-order"), the columns are sorted by group, in their old order within one.
// Thread-safe for reading.
class PackedMatrix {
 public:
  // Layer "X" of `name` "X.weight". Reads g_idx and qzeros. Throws Error unless the parts are there
  // with the shapes that the format gives, and each group fills whole blocks. The checkpoint must
  // outlive the object.
  PackedMatrix(const Checkpoint& checkpoint, const PackedFormat& format, const std::string& name,
               uint64_t rows, uint64_t cols, std::shared_ptr<SlabCache> cache);

  const std::string& layer() const { return layer_; }
  // Column i of the matrix is input columns()[i]; empty: they are in order.
  const std::vector<int32_t>& columns() const { return columns_; }
  // Whether every zero is 8: then int4a with kLinearTable holds the numbers without an offset.
  bool symmetric() const { return symmetric_; }

  std::string Place() const;  // "file: tensor 'X.qweight'"
  // Rows in f32: f32(scale) * f32(code - zero), one rounding.
  void ReadRowsF32(uint64_t row, uint64_t n_rows, float* out) const;
  // Fills int4a with offset none or zero.
  void Fill(const MatrixLayout& layout, uint64_t row, uint64_t n_rows, TilePlanes planes) const;

 private:
  // Codes and block parts of some rows.
  struct Rows {
    std::vector<uint8_t> codes;  // (n_rows, cols)
    std::vector<float> scales;   // (n_rows, blocks)
    std::vector<int8_t> zeros;   // (n_rows, blocks)
  };
  const SourceTensor& Part(const char* ending, std::vector<uint64_t> shape) const;
  bool IsGptq() const { return format_.method == PackedFormat::Method::kGptq; }
  std::vector<int32_t> Groups() const;
  void SortColumns(const std::vector<int32_t>& groups);
  void CheckZeros();
  std::shared_ptr<const Slab> ReadSlab(uint64_t row, uint64_t n_rows) const;
  void UnpackCodes(const Slab& slab, uint64_t first, uint64_t n_rows, uint8_t* out) const;
  uint32_t CodeOfOutput(const std::vector<uint32_t>& words, uint64_t line, uint64_t rows,
                        uint64_t output) const;
  Rows Decode(uint64_t row, uint64_t n_rows) const;

  const Checkpoint* checkpoint_;
  PackedFormat format_;
  std::string layer_;
  uint64_t rows_, cols_, groups_, blocks_;
  const SourceTensor* words_;
  const SourceTensor* zeros_;
  const SourceTensor* scales_;
  uint32_t shift_of_output_[8];           // in a word of 8 outputs
  std::vector<uint32_t> place_of_;        // of each input, the column
  std::vector<int32_t> columns_;
  std::vector<uint32_t> group_of_block_;
  bool symmetric_ = true;
  std::shared_ptr<SlabCache> cache_;
};

// The packed layers of a checkpoint; none if its config.json says nothing of quantization.
class PackedSource {
 public:
  // A layer of up to so many bytes is read once and whole (70B: 112 MiB), two are kept; of a larger
  // one, row by row of the file, what is wanted.
  static constexpr uint64_t kMaxLayerBytes = uint64_t{160} << 20;

  // Throws Error as ReadPackedFormat does. The checkpoint must outlive what is made here.
  PackedSource(const Checkpoint& checkpoint, const std::string& where,
               uint64_t max_layer_bytes = kMaxLayerBytes);

  // Whether the tensor "X.weight" comes packed. Throws Error if it comes as it is, too.
  bool Has(const std::string& name) const;
  // The names that stand for a packed "X.weight".
  std::set<std::string> PartNames(const std::string& name) const;
  // The tools gave some layers a bias of zeros that the model knows nothing of.
  bool IsZeroBias(const SourceTensor& tensor) const;

  // The sources of a tensor: packed ones open, null for the others. Throws Error if their columns
  // are in different orders, for they are to be one matrix.
  std::vector<std::shared_ptr<const PackedMatrix>> Open(const ImportTensor& tensor) const;

 private:
  const Checkpoint* checkpoint_;
  std::optional<PackedFormat> format_;
  std::shared_ptr<SlabCache> cache_;
};

// Fills in type, contents and place of `weight`, whose source is number `i` of `all`: without offset
// if none of them needs one.
void SetPacked(const std::vector<std::shared_ptr<const PackedMatrix>>& all, size_t i,
               SourceWeight* weight);

}  // namespace glint
