#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "formats/architectures/architecture.h"
#include "formats/convert/model_writer.h"
#include "formats/glint_file.h"
#include "lib/graph.h"

namespace glint {

// The very numbers of a matrix in the type of ours that holds them; of some GGUF types nearly
// (docs/QUANT.md).
struct NativeForm {
  BlockOffset offset = BlockOffset::kNone;
  Int4Table table = kDefaultInt4Table;
  FillTiles fill;
};

// A tensor of a model that is to be converted. Vectors are held; of a matrix, any rows can be had.
struct SourceWeight {
  std::string name;             // ours
  std::vector<uint64_t> shape;  // outermost first
  ImportTensor::Role role = ImportTensor::Role::kVector;
  std::string tied_to{};        // not empty: the same contents as this earlier one; nothing below counts
  // The type that holds it: vectors as `bytes`, matrices by encoding or `native`.
  DType stored = DType::kF32;
  std::vector<uint8_t> bytes{};          // vectors
  ReadRows read{};                       // matrices: rows in f32; thread-safe
  std::string place{};                   // matrices: "file: tensor 'x'", begins messages
  std::optional<NativeForm> native{};    // set: stays in the stored type unless another is asked for
};

// Whether a matrix that gets this type keeps its very numbers, without an encoder.
inline bool KeepsNumbers(const SourceWeight& weight, DType type) {
  return weight.native && type == weight.stored;
}

// A model as it comes: everything but the choice of types. Not copied, for it owns what `read` reads.
struct SourceModel {
  std::string path;
  ModelHeader header;  // without graphs
  std::vector<SourceWeight> weights;  // in the file's order; the tokenizer's tables are among them
  bool tied_vocabulary = false;
  // By the names of norms' weights: what they have been divided by (FoldScales, now or before).
  std::map<std::string, std::vector<float>> folded{};
  // The graphs over the tensors, whose types are then decided. Throws Error.
  std::function<std::vector<Graph>(const std::vector<Tensor>& tensors)> build;
  std::shared_ptr<const void> owner;  // of the open file
};

// Opens a Hugging Face folder, a .safetensors or .bin file, or a .glint file, and checks that each
// tensor of the architecture is there with its shape, and none that is not part of it. `warn` (may be
// empty) gets remarks. Throws Error.
SourceModel OpenSource(const std::string& path,
                       const std::function<void(const std::string&)>& warn = {});

std::map<std::string, const SourceWeight*> WeightsByName(const SourceModel& source);
// The names of the matrices that an op routed_linear reads. Throws Error as `build` does.
std::set<std::string> ExpertsOf(const SourceModel& source);

// A few rows that stand for a matrix: tiles of 16, evenly spread.
struct SampledRows {
  std::vector<float> rows;  // (n, cols)
  uint64_t n = 0;
};
SampledRows SampleRows(const SourceWeight& matrix);

// Fills a matrix of the view's type with its bytes as they are; the view's memory must outlive it.
FillTiles FillFromMatrix(const MatrixView& view);

// Names, types and shapes of a file's tensors. Only plain vectors have an address, in `jobs`: it
// tells which are tied to each other, no more.
std::vector<Tensor> TensorMetas(const std::vector<TensorJob>& jobs);

}  // namespace glint
