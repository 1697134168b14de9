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

float g_headroom = 1.3f;
int g_rowscale = 1;
int g_sweeps = 0;
int g_refine_damped = 1;

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
  std::vector<float> lost;     // (n, kBand): weight - rounded, normalized, by column
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
                            band.row_scales + t * kTileRows, nullptr};
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
        band.lost[column * kBand + row] = d;
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

struct BlockFactors {
  std::vector<float> m, weights, h;  // (blocks, size, size), (blocks, size), (blocks, size, size)
};

BlockFactors FactorBlocks(const Walk& walk) {
  const size_t size = Info(walk.layout.dtype).block, n = walk.layout.cols;
  const Hessian& h = walk.factor.hessian();
  const size_t blocks = (n + size - 1) / size;
  BlockFactors f;
  f.m.assign(blocks * size * size, 0);
  f.h.assign(blocks * size * size, 0);
  f.weights.assign(blocks * size, 0);
  for (size_t b = 0; b < blocks; ++b) {
    const size_t at = b * size, k = std::min(size, n - at);
    std::vector<double> a(k * k);
    for (size_t i = 0; i < k; ++i) for (size_t j = 0; j < k; ++j) {
      a[i * k + j] = h.At(at + i, at + j) + (i == j ? (g_refine_damped ? walk.factor.damping() : 1e-6*walk.factor.damping()) : 0);
      f.h[(b * size + i) * size + j] = a[i * k + j];
    }
    // H = S^T S, S lower; M = S^-1 normalized: H = M^-T D^-1 M^-1.
    std::vector<double> s(k * k), inv(k * k);
    for (size_t r = k; r-- > 0;) {
      for (size_t c = 0; c <= r; ++c) {
        double x = a[r * k + c];
        for (size_t m = r + 1; m < k; ++m) x -= s[m * k + r] * s[m * k + c];
        s[r * k + c] = c == r ? std::sqrt(x) : 0;
        if (c < r) s[r * k + c] = x;
      }
      for (size_t c = 0; c < r; ++c) s[r * k + c] /= s[r * k + r];
    }
    for (size_t c = 0; c < k; ++c) {
      for (size_t i = c; i < k; ++i) {
        double x = i == c ? 1 : 0;
        for (size_t m = c; m < i; ++m) x -= s[i * k + m] * inv[m * k + c];
        inv[i * k + c] = x / s[i * k + i];
      }
    }
    for (size_t i = 0; i < k; ++i) for (size_t j = 0; j <= i; ++j)
      f.m[(b * size + i) * size + j] = inv[i * k + j] / inv[j * k + j];
    for (size_t j = 0; j < k; ++j) f.weights[b * size + j] = 1 / (inv[j * k + j] * inv[j * k + j]);
  }
  return f;
}

void Refine(const Walk& walk, const BlockFactors& f, Band& band) {
  const size_t n = walk.layout.cols, size = Info(walk.layout.dtype).block;
  const size_t width = (band.n_rows + kTileRows - 1) / kTileRows * kTileRows;
  const Hessian& h = walk.factor.hessian();
  const float damping = g_refine_damped ? walk.factor.damping() : 0;
  std::vector<float>& g = band.values;
  std::vector<float> delta(kGroup * kUnit * kBand), y(kUnit * kTileRows), c(kUnit * kTileRows);
  for (int sweep = 0; sweep < g_sweeps; ++sweep) {
    // G = (H + damping) lost; only experiment: dense symmetric through copies
    if (sweep == 0) {
    for (size_t i = 0; i < n * kBand; ++i) g[i] = damping * band.lost[i];
    std::vector<float> tile(128 * 128);
    for (size_t i = 0; i < n; i += 128) for (size_t j = 0; j < n; j += 128) {
      const size_t ni = std::min<size_t>(128, n - i), nj = std::min<size_t>(128, n - j);
      for (size_t r = 0; r < ni; ++r) for (size_t q = 0; q < nj; ++q) tile[r * 128 + q] = h.At(i + r, j + q);
      AddProduct(ni, width, nj, 1.0f, tile.data(), 128, &band.lost[j * kBand], kBand, &g[i * kBand], kBand);
    }
    }
    for (size_t begin = 0; begin < n; begin += kGroup * kUnit) {
      const size_t end = std::min(n, begin + kGroup * kUnit);
      std::fill(delta.begin(), delta.end(), 0.0f);
      for (size_t at = begin; at < end; at += size) {
        const size_t k = std::min(size, n - at), b = at / size;
        const float* hb = &f.h[b * size * size];
        const float* m = &f.m[b * size * size];
        const float* v = &f.weights[b * size];
        for (uint64_t t = 0; t * kTileRows < band.n_rows; ++t) {
          const size_t lane0 = t * kTileRows;
          // c = G_b - H_bb lost_b;  y = w + M D M^T c
          float old_e[32 * 16], z[32 * 16];
          for (size_t i = 0; i < k; ++i) for (size_t r = 0; r < 16; ++r) {
            float x = g[(at + i) * kBand + lane0 + r];
            for (size_t j = 0; j < k; ++j) x -= hb[i * size + j] * band.lost[(at + j) * kBand + lane0 + r];
            c[i * 16 + r] = x;
          }
          for (size_t j = 0; j < k; ++j) for (size_t r = 0; r < 16; ++r) {
            float x = c[j * 16 + r];
            for (size_t i = j + 1; i < k; ++i) x += m[i * size + j] * c[i * 16 + r];
            z[j * 16 + r] = x / v[j];
          }
          for (size_t i = 0; i < k; ++i) for (size_t r = 0; r < 16; ++r) {
            float x = z[i * 16 + r];
            for (size_t j = 0; j < i; ++j) x += m[i * size + j] * z[j * 16 + r];
            const size_t row = lane0 + r;
            const float w = row < band.n_rows ? band.rows[row * n + at + i] * band.factors[row] : 0;
            y[i * 16 + r] = w + x;
            // old error: y - q_old = x + lost
            z[i * 16 + r] = z[i * 16 + r];
            old_e[i * 16 + r] = x + band.lost[(at + i) * kBand + row];
          }
          float old_cost[16] = {};
          for (size_t i = 0; i < k; ++i) for (size_t r = 0; r < 16; ++r) {
            float x = old_e[i * 16 + r];
            for (size_t j = 0; j < i; ++j) x -= m[i * size + j] * old_e[j * 16 + r];
            old_e[i * 16 + r] = x;
            old_cost[r] += v[i] * x * x;
          }
          const FeedbackBlock block{k, m, size, v};
          float near[16];
          const TilePlanes to = Advance(walk.layout, band.planes, t);
          for (size_t r = 0; r < 16; ++r) near[r] = static_cast<int8_t>(to.block_scales[b * 16 + r]);
          const FeedbackRows rows{y.data(), 16, band.row_scales + lane0, near};
          FeedbackResult result;
          float errors[32 * 16];
          EncodeFeedback(walk.book, block, rows, errors, 16, &result);
          float new_cost[16] = {};
          for (size_t i = 0; i < k; ++i) for (size_t r = 0; r < 16; ++r) new_cost[r] += v[i] * errors[i * 16 + r] * errors[i * 16 + r];
          const size_t n_rows = std::min<uint64_t>(16, band.n_rows - lane0);
          for (size_t r = 0; r < n_rows; ++r) {
            if (!(new_cost[r] < old_cost[r])) continue;
            to.block_scales[b * 16 + r] = static_cast<uint8_t>(static_cast<int8_t>(result.scales[r]));
            const size_t row = lane0 + r;
            const double s2 = double(band.inverses[row]) * band.inverses[row];
            band.damped -= (double(old_cost[r]) - new_cost[r]) * s2;
            for (size_t i = 0; i < k; ++i) {
              const size_t half = size / 2, low = i % half, shift = i < half ? 0 : 4;
              uint8_t* at8 = to.codes + b * half * 16 + (low / 4) * 64 + low % 4 + 4 * r;
              *at8 = (*at8 & ~(15 << shift)) | result.codes[i * 16 + r] << shift;
              const float w = band.rows[row * n + at + i] * band.factors[row];
              const float d = w - float(walk.options.table[result.codes[i * 16 + r]] * result.scales[r]) * band.row_scales[row];
              float& old = band.lost[(at + i) * kBand + row];
              delta[(at - begin + i) * kBand + row] += d - old;
              old = d;
            }
          }
        }
        // the rest of the group
        std::vector<float> tile(128 * 32);
        for (size_t i = begin; i < end; ++i) for (size_t j = 0; j < k; ++j) tile[(i - begin) * 32 + j] = h.At(i, at + j) + (i == at + j ? damping : 0);
        AddProduct(end - begin, width, k, 1.0f, tile.data(), 32, &delta[(at - begin) * kBand], kBand, &g[begin * kBand], kBand);
      }
      std::vector<float> tile(128 * 128);
      for (size_t i = 0; i < n; i += 128) {
        if (i == begin) continue;
        const size_t ni = std::min<size_t>(128, n - i), nj = end - begin;
        for (size_t r = 0; r < ni; ++r) for (size_t q = 0; q < nj; ++q) tile[r * 128 + q] = h.At(i + r, begin + q);
        AddProduct(ni, width, nj, 1.0f, tile.data(), 128, delta.data(), kBand, &g[i * kBand], kBand);
      }
    }
  }
  // recompute exactly: sum lost * G
  band.error = 0;
  for (size_t row = 0; row < band.n_rows; ++row) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += double(band.lost[i * kBand + row]) * (g[i * kBand + row] - damping * band.lost[i * kBand + row]);
    band.error += sum * band.inverses[row] * band.inverses[row];
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
  const BlockFactors block_factors = g_sweeps ? FactorBlocks(walk) : BlockFactors{};
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
    band.lost.assign(layout.cols * kBand, 0.0f);
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
    if (g_sweeps) Refine(walk, block_factors, band);
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
