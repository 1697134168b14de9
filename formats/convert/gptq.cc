#include "formats/convert/gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/convert/blas.h"
#include "formats/convert/gptq_band.h"
#include "formats/convert/run_throwing.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "quant/encode_tile.h"

namespace glint {
namespace {

// A row's scale lets its largest block scale be this much larger than the row's largest element
// asks for: the walk adds to weights, and scales above the plain one are among the best.
constexpr float kHeadroom = 1.3f;
constexpr float kLargestScale = 127.0f;
constexpr float kLargestWeight = 0x1p126f;  // as EncodeTiles

std::vector<GptqBlock> BlocksOf(const InverseFactor& factor, size_t size) {
  std::vector<GptqBlock> blocks;
  for (size_t place = 0; place < factor.n(); place += blocks.back().n) {
    const size_t column = factor.Column(place) / size * size;
    blocks.push_back({place, column, std::min(size, factor.n() - column)});
  }
  return blocks;
}

void CheckWeight(const std::string& name, const MatrixLayout& layout, uint64_t row, uint64_t column,
                 float weight) {
  if (std::fabs(weight) <= kLargestWeight) return;  // false for nan
  throw Error(name + ": row " + std::to_string(row) + ", column " + std::to_string(column) + ": " +
              std::to_string(weight) + " cannot be stored as " + Info(layout.dtype).name);
}

// Reads rows [first, first + n_rows) and prepares the walk.
void StartBand(const GptqPlan& plan, const std::string& name, const ReadMatrixRows& read,
               uint64_t first, size_t n_rows, GptqBand& band) {
  const size_t n = plan.n();
  band.n_rows = n_rows;
  band.width = (n_rows + kTileRows - 1) / kTileRows * kTileRows;
  band.rows.resize(n_rows * n);
  band.values.assign(n * kBandRows, 0.0f);
  band.lost.assign(n * kBandRows, 0.0f);
  band.errors.resize(kGroupColumns * kBandRows);
  band.codes.resize(n * kBandRows);
  band.scales.assign(plan.layout.blocks * kBandRows, 0.0f);
  std::fill_n(band.row_scales, kBandRows, 0.0f);
  std::fill_n(band.costs, kBandRows, 0.0);
  read(first, n_rows, band.rows.data());
  const float end = std::max(-plan.book.first, plan.book.last);
  for (size_t r = 0; r < n_rows; ++r) {
    const float* const row = &band.rows[r * n];
    float largest = 0;
    for (size_t c = 0; c < n; ++c) {
      CheckWeight(name, plan.layout, first + r, c, row[c]);
      largest = std::max(largest, std::fabs(row[c]));
    }
    const Normalizer normal = NormalizerOf(largest);
    band.factors[r] = normal.factor;
    band.inverses[r] = normal.inverse;
    band.row_scales[r] = kHeadroom * (largest * normal.factor) / (end * kLargestScale);
    for (size_t place = 0; place < n; ++place) {
      band.values[place * kBandRows + r] = row[plan.factor.Column(place)] * normal.factor;
    }
  }
}

// Rounds a block of all rows; its errors go to `errors` (n, kBandRows).
void WalkBlock(const GptqPlan& plan, const GptqBlock& block, GptqBand& band, float* errors) {
  constexpr bool kAll[kTileRows] = {true, true, true, true, true, true, true, true,
                                    true, true, true, true, true, true, true, true};
  const InverseFactor& factor = plan.factor;
  const FeedbackBlock feedback{block.n, factor.Row(block.place) + block.place, factor.stride(),
                               factor.weights() + block.place};
  for (size_t row = 0; row < band.width; row += kTileRows) {
    FeedbackResult result;
    EncodeFeedback(
        plan.book, feedback,
        {&band.values[block.place * kBandRows + row], kBandRows, band.row_scales + row, nullptr},
        &result);
    band.Keep(plan, block, row, result, kAll);
    for (size_t r = 0; r < kTileRows; ++r) band.costs[row + r] += result.costs[r];
    for (size_t c = 0; c < block.n; ++c) {
      std::copy_n(result.errors + c * kTileRows, kTileRows, errors + c * kBandRows + row);
    }
  }
}

// The first block may have columns that count for more than all others: the row's scale is put
// where it suits them exactly, since it need not be an integer.
void TuneRowScales(const GptqPlan& plan, GptqBand& band) {
  const GptqBlock& block = plan.blocks.front();
  const FeedbackBlock feedback{block.n, plan.factor.Row(0), plan.factor.stride(),
                               plan.factor.weights()};
  for (size_t row = 0; row < band.width; row += kTileRows) {
    const FeedbackRows rows{&band.values[row], kBandRows, band.row_scales + row, nullptr};
    FeedbackResult result;
    EncodeFeedback(plan.book, feedback, rows, &result);
    float factors[kTileRows];
    FitRowScales(plan.book, feedback, rows, result, factors);
    for (size_t r = 0; r < kTileRows; ++r) band.row_scales[row + r] *= factors[r];
  }
}

// Algorithm 1 of the paper: block by block, the errors of a group of blocks reaching the columns
// after the group in one product.
void Walk(const GptqPlan& plan, GptqBand& band) {
  const InverseFactor& factor = plan.factor;
  const auto spread = [&](size_t from, size_t to, size_t begin, size_t end, const float* errors) {
    if (begin == end) return;
    AddProduct(end - begin, band.width, to - from, -1.0f, factor.Row(begin) + from, factor.stride(),
               errors, kBandRows, &band.values[begin * kBandRows], kBandRows);
  };
  for (auto block = plan.blocks.begin(); block != plan.blocks.end();) {
    auto last = block;
    const size_t begin = block->place;
    while (last != plan.blocks.end() && last->place + last->n <= begin + kGroupColumns) ++last;
    const size_t end = last == plan.blocks.end() ? plan.n() : last->place;
    for (; block != last; ++block) {
      float* const errors = &band.errors[(block->place - begin) * kBandRows];
      WalkBlock(plan, *block, band, errors);
      spread(block->place, block->place + block->n, block->place + block->n, end, errors);
    }
    spread(begin, end, end, plan.n(), band.errors.data());
  }
}

// Writes the band's tiles to their places in the tensor.
void StoreBand(const GptqPlan& plan, const GptqBand& band, TilePlanes planes) {
  const MatrixLayout& layout = plan.layout;
  for (size_t row = 0; row < band.n_rows; row += kTileRows) {
    const size_t n_rows = std::min(kTileRows, band.n_rows - row);
    for (size_t r = 0; r < n_rows; ++r) {
      planes.row_scales[r] = band.row_scales[row + r] * band.inverses[row + r];
    }
    for (size_t b = 0; b < layout.blocks; ++b) {
      for (size_t r = 0; r < n_rows; ++r) {
        const auto scale = static_cast<int8_t>(band.scales[b * kBandRows + row + r]);
        planes.block_scales[b * kTileRows + r] = static_cast<uint8_t>(scale);
      }
    }
    for (size_t begin = 0; begin < layout.padded_cols; begin += kPackedColumns) {
      uint8_t codes[kPackedColumns * kTileRows];
      const size_t n = std::min<size_t>(kPackedColumns, plan.n() - begin);
      for (size_t c = 0; c < n; ++c) {
        std::copy_n(&band.codes[(begin + c) * kBandRows + row], kTileRows, codes + c * kTileRows);
      }
      const size_t at = begin / kPackedColumns * Info(layout.dtype).code_bytes;
      PackCodes(layout.dtype, codes, n, n_rows, planes.codes + at);
    }
    planes = Advance(layout, planes, 1);
  }
}

// The walk and the sweeps know the error by the damped H; what the damping adds is taken off again.
double BandError(const GptqPlan& plan, const GptqBand& band) {
  double added[kBandRows] = {};
  for (size_t c = 0; c < plan.n(); ++c) {
    const double damping = plan.factor.Damping(c);
    for (size_t r = 0; r < band.n_rows; ++r) {
      const double lost = band.lost[c * kBandRows + r];
      added[r] += damping * (lost * lost);
    }
  }
  double error = 0;
  for (size_t r = 0; r < band.n_rows; ++r) {
    const double unit = band.inverses[r];
    error += (band.costs[r] - added[r]) * unit * unit;
  }
  return error;
}

}  // namespace

void GptqBand::Keep(const GptqPlan& plan, const GptqBlock& block, size_t row,
                    const FeedbackResult& result, const bool* chosen) {
  const size_t b = block.column / Info(plan.layout.dtype).block;
  for (size_t r = 0; r < kTileRows; ++r) {
    if (chosen[r]) scales[b * kBandRows + row + r] = result.scales[r];
  }
  for (size_t c = 0; c < block.n; ++c) {
    const size_t column = plan.factor.Column(block.place + c);
    for (size_t r = 0; r < kTileRows; ++r) {
      if (!chosen[r] || row + r >= n_rows) continue;
      const uint8_t code = result.codes[c * kTileRows + r];
      const float rounded = (plan.book.Value(code) * result.scales[r]) * row_scales[row + r];
      codes[column * kBandRows + row + r] = code;
      lost[column * kBandRows + row + r] = Weight(plan, row + r, column) - rounded;
    }
  }
}

bool GptqAvailable() {
  return BlasAvailable();
}

bool HasGptq(DType dtype) {
  return Info(dtype).has_row_scales;
}

GptqResult GptqEncode(const MatrixLayout& layout, const EncodeOptions& encode,
                      const GptqOptions& options, const ReadMatrixRows& read,
                      const InverseFactor& factor, const std::string& name, ThreadPool& pool,
                      uint8_t* tensor) {
  RequireBlas();
  const FpModeScope fp_mode;
  if (!HasGptq(layout.dtype)) {
    throw Error(name + ": GPTQ cannot make " + Info(layout.dtype).name);
  }
  if (layout.cols != factor.n()) {
    throw Error(name + ": expected " + std::to_string(layout.cols) + " calibrated inputs, found " +
                std::to_string(factor.n()));
  }
  const GptqPlan plan{layout, factor, Codebook::Of(layout.dtype, encode.table),
                      BlocksOf(factor, Info(layout.dtype).block)};
  const BlockFactors block_factors(plan);
  std::memset(tensor, 0, layout.codes);
  if (Info(layout.dtype).has_table) WriteTable(encode.table, tensor + layout.table);
  const size_t n_bands = (layout.rows + kBandRows - 1) / kBandRows;
  std::vector<double> errors(n_bands);
  std::vector<GptqBand> bands(pool.size());
  RunThrowing(pool, n_bands, [&](size_t task, size_t worker) {
    GptqBand& band = bands[worker];
    const uint64_t first = task * kBandRows;
    StartBand(plan, name, read, first, std::min<uint64_t>(kBandRows, layout.rows - first), band);
    TuneRowScales(plan, band);
    Walk(plan, band);
    Sweep(plan, block_factors, options.sweeps, band);
    StoreBand(plan, band, PlanesAt(layout, tensor, first / kTileRows));
    errors[task] = BandError(plan, band);
  });
  GptqResult result{0};
  for (const double error : errors) result.error += error;
  return result;
}

}  // namespace glint
