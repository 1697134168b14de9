#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/glint_writer.h"
#include "lib/thread_pool.h"
#include "quant/encode.h"

namespace glint {

// Fills whole tiles of a matrix: rows [row, row + n_rows), row a multiple of 16, n_rows too unless the
// matrix ends there. Called from several threads for different rows. Throws Error.
using FillTiles = std::function<void(const MatrixLayout& layout, uint64_t row, uint64_t n_rows,
                                     TilePlanes planes)>;

// A tensor on its way into a file. Exactly one of `bytes`, `fill` and plan.tied_to is used.
struct TensorJob {
  TensorPlan plan;
  std::vector<uint8_t> bytes{};             // plain vectors, small
  FillTiles fill{};                         // matrices
  // Called once before `fill`, which it may set, as it may `table`; no other job runs meanwhile, so it
  // may use all threads.
  std::function<void(TensorJob& job)> prepare{};
  Int4Table table = kDefaultInt4Table;      // of types that have one
};

struct WriteOptions {
  std::string output;                       // a path, or the name of what is in `memory`
  std::shared_ptr<Output> memory{};         // set: the model goes there, and no file is written
  bool outline = false;                     // matrices stay unwritten: zeros, without a table
  bool overwrite = false;
  size_t threads = 0;                       // 0: DefaultThreads()
  std::function<void(double)> progress{};   // 0..1
};

// Writes a model a band of rows at a time: what is in memory does not grow with the tensors. The file
// is the same whatever the number of threads. Throws Error; then there is no output file.
void WriteModel(const ModelHeader& header, std::vector<TensorJob> jobs,
                const WriteOptions& options);

// Fills from f32 rows that `read` delivers, encoded with `options`. `name` ("model: tensor 'x'") begins
// the message if a number cannot be stored.
using ReadRows = std::function<void(uint64_t row, uint64_t n_rows, float* out)>;
FillTiles FillFromRows(ReadRows read, EncodeOptions options, std::string name);

}  // namespace glint
