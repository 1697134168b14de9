#include "formats/convert/gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "formats/convert/blas.h"
#include "lib/error.h"
#include "lib/fp_mode.h"
#include "quant/encode_feedback.h"

namespace glint {

float g_headroom = 1.0f;
int g_rowscale = 0;

namespace {

constexpr size_t kBand = 128;  // rows of one task
constexpr size_t kGroup = 4;   // units of 32 columns whose errors reach the later columns together
constexpr size_t kUnit = 32;

struct Walk {
  const MatrixLayout& layout;
  const EncodeOptions& options;
  const InverseFactor& factor;
  Codebook book;
};

struct Band {
  const float* rows;  // (n_rows, cols), as read
  uint64_t n_rows;
  std::vector<float> values;   // (n, kBand) by order of walk, normalized
  std::vector<float> errors;   // (kGroup * kUnit, kBand)
  float factors[kBand], row_scales[kBand], inverses[kBand];
  TilePlanes planes;
  double error = 0, damped = 0;
};

void EncodeBlock(const Walk& walk, Band& band, size_t begin, size_t n, float* errors) {
  const size_t block_size = Info(walk.layout.dtype).block;
  const uint32_t first = walk.factor.Column(begin) / block_size * block_size;
  const FeedbackBlock block{n, walk.factor.Row(begin) + begin, walk.factor.stride(),
                            walk.factor.weights() + begin};
  float values[16];
  (void)values;
  for (uint64_t t = 0; t * kTileRows < band.n_rows; ++t) {
    const FeedbackRows rows{&band.values[begin * kBand + t * kTileRows], kBand,
                            band.row_scales + t * kTileRows};
    FeedbackResult result;
    EncodeFeedback(walk.book, block, rows, errors + t * kTileRows, kBand, &result);
    const TilePlanes to = Advance(walk.layout, band.planes, t);
    uint8_t codes[kLargestFeedbackBlock * kTileRows];
    for (size_t c = 0; c < n; ++c) {
      std::memcpy(codes + (walk.factor.Column(begin + c) - first) * kTileRows,
                  result.codes + c * kTileRows, kTileRows);
    }
    const size_t b = first / block_size;
    for (size_t r = 0; r < kTileRows; ++r) {
      to.block_scales[b * kTileRows + r] =
          static_cast<uint8_t>(static_cast<int8_t>(result.scales[r]));
    }
    const uint64_t n_rows = std::min<uint64_t>(kTileRows, band.n_rows - t * kTileRows);
    PackNibbles(codes, n, n_rows, block_size, to.codes + b * (block_size / 2) * kTileRows);
    for (size_t r = 0; r < n_rows; ++r) {
      double damped = 0;
      double lost = 0;
      const size_t row = t * kTileRows + r;
      for (size_t c = 0; c < n; ++c) {
        const double e = errors[c * kBand + row];
        damped += block.weights[c] * e * e;
        const size_t column = walk.factor.Column(begin + c);
        const double w = band.rows[row * walk.layout.cols + column] * band.factors[row];
        const int entry = walk.options.table[result.codes[c * kTileRows + r]];
        const double d = w - float(entry * result.scales[r]) * band.row_scales[row];
        lost += d * d;
      }
      const double scale = double(band.inverses[row]) * band.inverses[row];
      band.damped += damped * scale;
      band.error += (damped - lost * walk.factor.damping()) * scale;
    }
  }
}

void EncodeBand(const Walk& walk, Band& band) {
  const size_t n = walk.layout.cols;
  const size_t width = (band.n_rows + kTileRows - 1) / kTileRows * kTileRows;
  size_t end = 0;
  for (size_t begin = 0; begin < n; begin = end) {
    // The group's units: the cut one may be among them.
    std::vector<size_t> starts;
    end = begin;
    for (size_t u = 0; u < kGroup && end < n; ++u) {
      const size_t unit = std::min<size_t>(kUnit, n - walk.factor.Column(end) / kUnit * kUnit);
      const size_t block = Info(walk.layout.dtype).block;
      for (size_t b = 0; b < unit;) {
        starts.push_back(end + b);
        const size_t first = walk.factor.Column(end + b) / block * block;
        b += std::min(block, n - first);
      }
      end += unit;
    }
    starts.push_back(end);
    for (size_t s = 0; s + 1 < starts.size(); ++s) {
      const size_t at = starts[s], next = starts[s + 1];
      EncodeBlock(walk, band, at, next - at, &band.errors[(at - begin) * kBand]);
      AddProduct(end - next, width, next - at, -1.0f, walk.factor.Row(next) + at,
                 walk.factor.stride(), &band.errors[(at - begin) * kBand], kBand,
                 &band.values[next * kBand], kBand);
    }
    AddProduct(n - end, width, end - begin, -1.0f, walk.factor.Row(end) + begin,
               walk.factor.stride(), band.errors.data(), kBand, &band.values[end * kBand], kBand);
  }
}

}  // namespace

bool GptqAvailable() {
  return BlasAvailable();
}

GptqResult GptqEncode(const MatrixLayout& layout, const EncodeOptions& options, const ReadRows& read,
                      const InverseFactor& factor, const std::string& name, ThreadPool& pool,
                      uint8_t* tensor) {
  RequireBlas();
  const FpModeScope mode;
  (void)name;
  std::memset(tensor, 0, layout.bytes);
  WriteTable(options.table, tensor + layout.table);
  const Walk walk{layout, options, factor, Codebook(options.table)};
  const size_t n_bands = (layout.rows + kBand - 1) / kBand;
  std::vector<GptqResult> results(n_bands);
  pool.Run(n_bands, [&](size_t task, size_t) {
    Band band{};
    band.n_rows = std::min<uint64_t>(kBand, layout.rows - task * kBand);
    std::vector<float> rows(band.n_rows * layout.cols);
    read(task * kBand, band.n_rows, rows.data());
    band.rows = rows.data();
    band.planes = PlanesAt(layout, tensor, task * kBand / kTileRows);
    if (g_rowscale == 0) {
      const uint64_t bad = EncodeTiles(layout, options, rows.data(), band.n_rows, band.planes);
      if (bad != kEncoded) std::abort();
    }
    band.values.assign(layout.cols * kBand, 0.0f);
    band.errors.assign(kGroup * kUnit * kBand, 0.0f);
    for (uint64_t r = 0; r < band.n_rows; ++r) {
      float largest = 0;
      for (uint64_t c = 0; c < layout.cols; ++c) largest = std::max(largest, std::fabs(rows[r * layout.cols + c]));
      const Normalizer normal = NormalizerOf(largest);
      band.factors[r] = normal.factor;
      band.inverses[r] = normal.inverse;
      float& to = Advance(layout, band.planes, r / kTileRows).row_scales[r % kTileRows];
      if (g_rowscale == 1) to = largest / (63.0f * 127.0f);
      to *= g_headroom;
      band.row_scales[r] = to * normal.factor;
      for (uint64_t c = 0; c < layout.cols; ++c) {
        band.values[c * kBand + r] = rows[r * layout.cols + factor.Column(c)] * normal.factor;
      }
    }
    EncodeBand(walk, band);
    results[task] = {band.error, band.damped};
  });
  GptqResult sum{0, 0};
  for (const GptqResult& r : results) {
    sum.error += r.error;
    sum.damped += r.damped;
  }
  return sum;
}

}  // namespace glint
