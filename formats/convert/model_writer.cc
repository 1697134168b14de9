#include "formats/convert/model_writer.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "formats/convert/run_throwing.h"
#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

// f32 bytes of the rows that one thread works on at a time.
constexpr uint64_t kBandBytes = 4 << 20;

uint64_t BandRows(uint64_t cols) {
  const uint64_t rows = kBandBytes / (cols * sizeof(float));
  return std::max<uint64_t>(kTileRows, rows / kTileRows * kTileRows);
}

// Memory for the tiles of one band, and the writing of them to their places in the file.
class BandBuffer {
 public:
  TilePlanes Prepare(const MatrixLayout& layout, uint64_t tiles) {
    parts_ = {{{layout.row_scales, layout.row_scales_tile},
               {layout.block_scales, layout.block_scales_tile},
               {layout.block_offsets, layout.block_offsets_tile},
               {layout.codes, layout.codes_tile}}};
    for (size_t i = 0; i < parts_.size(); ++i) bytes_[i].assign(tiles * parts_[i].tile_bytes, 0);
    TilePlanes planes;
    planes.row_scales = reinterpret_cast<float*>(bytes_[0].data());
    planes.block_scales = bytes_[1].data();
    planes.block_offsets = bytes_[2].data();
    planes.codes = bytes_[3].data();
    return planes;
  }
  void Write(GlintWriter& writer, size_t tensor, uint64_t first_tile) const {
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (bytes_[i].empty()) continue;
      writer.Write(tensor, parts_[i].offset + first_tile * parts_[i].tile_bytes, bytes_[i].data(),
                   bytes_[i].size());
    }
  }

 private:
  struct Part {
    uint64_t offset = 0, tile_bytes = 0;
  };
  std::array<Part, 4> parts_;
  std::array<std::vector<uint8_t>, 4> bytes_;
};

class Progress {
 public:
  Progress(const std::vector<TensorJob>& jobs, const std::function<void(double)>& report,
           bool has_checksums)
      : report_(report), writing_(has_checksums ? 0.9 : 1.0) {
    for (const TensorJob& job : jobs) total_ += Elements(job);
  }
  // Writing is 9 tenths of the work; Finish, which reads a file back for the checksums, is the rest.
  void Add(uint64_t elements) {
    const std::lock_guard lock(mutex_);
    done_ += elements;
    if (report_) report_(writing_ * static_cast<double>(done_) / static_cast<double>(total_));
  }
  void Finishing(double share) const {
    if (report_) report_(writing_ + (1 - writing_) * share);
  }
  static uint64_t Elements(const TensorJob& job) {
    if (!job.plan.tied_to.empty()) return 0;
    if (job.plan.shape.size() != 2) return job.bytes.size() + 1;
    return job.plan.shape[0] * job.plan.shape[1];
  }

 private:
  const std::function<void(double)>& report_;
  const double writing_;
  std::mutex mutex_;
  uint64_t done_ = 0, total_ = 0;
};

void WriteMatrix(GlintWriter& writer, size_t index, const TensorJob& job, ThreadPool& pool,
                 std::vector<BandBuffer>& buffers, Progress& progress) {
  const TensorPlan& plan = job.plan;
  MatrixLayout layout;
  if (!ComputeLayout(plan.dtype, plan.offset, plan.shape[0], plan.shape[1], &layout)) {
    throw Error("tensor " + Quoted(plan.name) + ": a matrix of this type and shape cannot exist");
  }
  if (Info(plan.dtype).has_table) {
    uint8_t table[64];
    WriteTable(job.table, table);
    writer.Write(index, layout.table, table, sizeof table);
  }
  const uint64_t band = BandRows(layout.cols);
  RunThrowing(pool, (layout.rows + band - 1) / band, [&](size_t task, size_t worker) {
    const uint64_t row = task * band, n = std::min(band, layout.rows - row);
    if (uint8_t* const memory = writer.Memory(index)) {
      job.fill(layout, row, n, PlanesAt(layout, memory, row / kTileRows));
    } else {
      BandBuffer& buffer = buffers[worker];
      job.fill(layout, row, n, buffer.Prepare(layout, (n + kTileRows - 1) / kTileRows));
      buffer.Write(writer, index, row / kTileRows);
    }
    progress.Add(n * layout.cols);
  });
}

}  // namespace

void WriteModel(const ModelHeader& header, std::vector<TensorJob> jobs,
                const WriteOptions& options) {
  const FpModeScope fp_mode;
  std::vector<TensorPlan> plan;
  for (const TensorJob& job : jobs) plan.push_back(job.plan);
  GlintWriter writer = options.memory
                           ? GlintWriter(options.memory, options.output, header, std::move(plan))
                           : GlintWriter(options.output, header, std::move(plan), options.overwrite);
  ThreadPool pool(options.threads == 0 ? DefaultThreads() : options.threads);
  std::vector<BandBuffer> buffers(pool.size());
  Progress progress(jobs, options.progress, !options.memory);
  for (size_t i = 0; i < jobs.size(); ++i) {
    TensorJob& job = jobs[i];
    if (!job.plan.tied_to.empty() || (options.outline && job.plan.shape.size() == 2)) continue;
    if (job.prepare) job.prepare(job);
    if (job.fill) {
      WriteMatrix(writer, i, job, pool, buffers, progress);
      job.fill = {};  // and what it holds
    } else {
      writer.Write(i, 0, job.bytes.data(), job.bytes.size());
      progress.Add(Progress::Elements(job));
    }
  }
  writer.Finish([&](double share) { progress.Finishing(share); });
}

FillTiles FillFromRows(ReadRows read, EncodeOptions options, std::string name) {
  return [read = std::move(read), options, name = std::move(name)](
             const MatrixLayout& layout, uint64_t row, uint64_t n_rows, TilePlanes planes) {
    // Raw memory, not a vector: no time goes into zeros that are overwritten at once.
    const std::unique_ptr<float[]> rows(new float[n_rows * layout.cols]);
    read(row, n_rows, rows.get());
    const uint64_t bad = EncodeTiles(layout, options, rows.get(), n_rows, planes);
    if (bad == kEncoded) return;
    throw Error(name + ": row " + std::to_string(row + bad / layout.cols) + ", column " +
                std::to_string(bad % layout.cols) + ": " + std::to_string(rows[bad]) +
                " cannot be stored as " + Info(layout.dtype).name);
  };
}

}  // namespace glint
