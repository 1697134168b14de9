#include "quant/fit_table.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/encode_tile.h"

// First the best of a few tables, then Lloyd's method from there (S. P. Lloyd, Least squares
// quantization in PCM, 1982): with the scales and codes that a table gives, the best value of each
// entry is a weighted mean; rounded, these are the next table. Lloyd's method alone stays near the
// table it begins with, because rounding swallows its steps: the few tables were found by random
// and coordinate steps on the encoding error, on weights of each kind (docs/QUANT.md).
namespace glint {
namespace {

constexpr uint64_t kMostBlocks = 256;  // of 16 rows each
constexpr int kMostSteps = 10;
constexpr float kLargest = 0x1p126f;
constexpr int kEnd = 63;

constexpr Int4Table kTablesOf16[] = {
    kDefaultInt4Table,
    {-63, -50, -39, -31, -23, -16, -10, -4, 1, 6, 12, 18, 25, 32, 41, 53},  // normal, 32 columns
    {-61, -51, -41, -31, -23, -16, -10, -4, 1, 7, 13, 19, 25, 32, 41, 55},  // normal, 16 columns
    {-63, -48, -36, -27, -20, -14, -9, -4, 1, 6, 11, 17, 23, 31, 41, 63},   // heavy tails
    {-59, -50, -42, -33, -26, -20, -12, -6, 1, 6, 12, 18, 25, 34, 41, 53},  // light tails
    {-59, -47, -38, -30, -23, -16, -10, -4, 1, 6, 12, 18, 24, 31, 41, 56},  // trained matrices
    {-62, -49, -39, -31, -24, -17, -11, -5, 1, 7, 12, 18, 25, 33, 42, 52},
    {-63, -55, -38, -30, -23, -17, -11, -6, 0, 5, 12, 19, 26, 33, 42, 53},
};
constexpr Int4Table kTablesOf8[] = {
    kDefaultInt3Table,
    {-61, -38, -22, -9, 3, 16, 31, 54},   // normal
    {-63, -30, -14, -3, 5, 16, 30, 50},   // heavy tails
    {-63, -30, -15, -4, 5, 15, 29, 49},   // heavier
    {-63, -44, -27, -11, 5, 21, 36, 55},  // light tails
    {-59, -37, -22, -9, 3, 16, 31, 51},   // trained matrices
    {-63, -31, -17, -4, 10, 23, 32, 54},
};

struct Sample {
  WeightedBlock block;
  double weights[kTileRows];  // of a row's squared errors beside other rows and blocks
  float scales[kTileRows];    // those of the table measured last
};

// One block of the tile `in`, each row normalized by itself. False if it holds what cannot be
// stored.
bool TakeSample(TileRows* in, uint64_t begin, size_t n, Sample* sample) {
  WeightedBlock& block = sample->block;
  block.n = n;
  const double weight = BlockWeights(*in, begin, n, block.weights);
  float factors[kTileRows] = {};
  std::fill_n(sample->weights, kTileRows, 0.0);
  for (uint64_t r = 0; r < in->n_rows; ++r) {
    float largest = 0.0f;
    for (size_t c = 0; c < n; ++c) {
      const float magnitude = std::fabs(in->rows[r * in->cols + begin + c]);
      if (!(magnitude <= kLargest)) return false;
      largest = std::max(largest, magnitude);
    }
    const Normalizer normal = NormalizerOf(largest);
    factors[r] = normal.factor;
    sample->weights[r] = weight * normal.inverse * normal.inverse;
  }
  GatherBlock(*in, begin, n, factors, block.x);
  block.Weigh();
  return true;
}

// Blocks spread over the rows; all blocks, if there are few.
std::vector<Sample> TakeSamples(DType dtype, const float* rows, uint64_t n_rows, uint64_t cols,
                                const float* importance) {
  const uint64_t width = Info(dtype).block;
  const uint64_t tiles = (n_rows + kTileRows - 1) / kTileRows, blocks = (cols + width - 1) / width;
  const bool take_all = tiles <= kMostBlocks / blocks;
  const uint64_t n = take_all ? tiles * blocks : kMostBlocks;
  TileRows in = TilesOf(cols, importance);
  std::vector<Sample> samples;
  samples.reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t tile = take_all ? i / blocks : i * tiles / n;
    // 2^32 / 1.618...: neighbours in i are far apart.
    const uint64_t begin = (take_all ? i : i * 0x9e3779b1u) % blocks * width;
    in.rows = rows + tile * kTileRows * cols;
    in.n_rows = std::min<uint64_t>(kTileRows, n_rows - tile * kTileRows);
    const auto columns = static_cast<size_t>(std::min(width, cols - begin));
    Sample sample;
    if (TakeSample(&in, begin, columns, &sample)) samples.push_back(sample);
  }
  return samples;
}

// What the encoder with this codebook takes away from the sample's weighted squares. Keeps the
// scales that it finds.
double GainOf(const Codebook& book, std::vector<Sample>* samples) {
  double gain = 0;
  for (Sample& sample : *samples) {
    FindScales(book, sample.block, true, sample.scales);
    float to_value[kTileRows];
    for (size_t r = 0; r < kTileRows; ++r) to_value[r] = InverseOf(sample.scales[r]);
    Products sums;
    SumProducts(book, sample.block, to_value, &sums);
    for (size_t r = 0; r < kTileRows; ++r) {
      if (sums.tt[r] > 0.0f) gain += sample.weights[r] * sums.xt[r] * sums.xt[r] / sums.tt[r];
    }
  }
  return gain;
}

// The entries' best values with the scales and codes of the codebook, brought to the table's range
// and rounded.
Int4Table NextTable(const Codebook& book, const std::vector<Sample>& samples) {
  double xs[16] = {}, ss[16] = {};
  for (const Sample& sample : samples) {
    const WeightedBlock& block = sample.block;
    uint8_t codes[kLargestBlock * kTileRows];
    NearestCodes(book, block.x, block.n, sample.scales, codes);
    for (size_t i = 0; i < block.n * kTileRows; ++i) {
      const size_t r = i % kTileRows;
      const double scale = sample.scales[r];
      const double weighted_scale = sample.weights[r] * block.weights[i / kTileRows] * scale;
      xs[codes[i]] += weighted_scale * block.x[i];
      ss[codes[i]] += weighted_scale * scale;
    }
  }
  double values[16], largest = 0;
  for (size_t i = 0; i < book.n_codes; ++i) {
    values[i] = ss[i] > 0 ? xs[i] / ss[i] : double{book.Value(i)};
    largest = std::max(largest, std::fabs(values[i]));
  }
  Int4Table next{};
  int least = -kEnd;
  for (size_t i = 0; i < book.n_codes; ++i) {
    const int most = kEnd - static_cast<int>(book.n_codes - 1 - i);
    const double rounded = std::floor(values[i] * kEnd / largest + 0.5);
    // The mean of a code's values may lie beyond that of its neighbour's.
    const int entry = static_cast<int>(std::clamp(rounded, double(least), double(most)));
    next[i] = static_cast<int8_t>(entry);
    least = entry + 1;
  }
  return next;
}

}  // namespace

Int4Table FitTable(DType dtype, const float* rows, uint64_t n_rows, uint64_t cols,
                   const float* importance) {
  Int4Table best = DefaultTable(dtype);
  if (!Info(dtype).has_table || n_rows == 0 || cols == 0) return best;
  std::vector<Sample> samples = TakeSamples(dtype, rows, n_rows, cols, importance);
  double most = -1;
  const auto try_table = [&](const Int4Table& table) {
    const double gain = GainOf(Codebook::Of(dtype, table), &samples);
    if (!(gain > most)) return;
    most = gain;
    best = table;
  };
  if (dtype == DType::kInt3) {
    for (const Int4Table& table : kTablesOf8) try_table(table);
  } else {
    for (const Int4Table& table : kTablesOf16) try_table(table);
  }
  Int4Table table = best;
  (void)GainOf(Codebook::Of(dtype, table), &samples);  // for the scales
  for (int step = 0; step < kMostSteps; ++step) {
    const Int4Table next = NextTable(Codebook::Of(dtype, table), samples);
    if (next == table) break;
    table = next;
    try_table(table);
  }
  return best;
}

}  // namespace glint
