#include "quant/encode_feedback.h"

#include <algorithm>
#include <cstdlib>

namespace glint {
namespace {

constexpr size_t kVectors = kTileRows / Lanes::size;
constexpr float kLargestScale = 127.0f;

struct Tile {  // a number per row
  Lanes v[kVectors];
};

Tile Load(const float* from) {
  Tile t;
  for (size_t i = 0; i < kVectors; ++i) t.v[i] = Lanes::load_unaligned(from + i * Lanes::size);
  return t;
}

void Store(const Tile& t, float* to) {
  for (size_t i = 0; i < kVectors; ++i) t.v[i].store_unaligned(to + i * Lanes::size);
}

// Rounds the block with the integer scales k. errors is (n, 16). Returns the cost per row.
Tile Round(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
           const Tile& k, float* errors) {
  const Tile row_scales = Load(rows.row_scales);
  Tile cost, to_code;
  for (size_t i = 0; i < kVectors; ++i) {
    cost.v[i] = Lanes(0.0f);
    to_code.v[i] = Reciprocal(k.v[i] * row_scales.v[i]);
  }
  for (size_t c = 0; c < block.n; ++c) {
    Tile x = Load(rows.values + c * rows.stride);
    const float* factor = block.factor + c * block.stride;
    for (size_t j = 0; j < c; ++j) {
      const Lanes f(factor[j]);
      const float* e = errors + j * kTileRows;
      for (size_t i = 0; i < kVectors; ++i) {
        x.v[i] -= f * Lanes::load_unaligned(e + i * Lanes::size);
      }
    }
    const Lanes weight(block.weights[c]);
    for (size_t i = 0; i < kVectors; ++i) {
      const Lanes entry = book.Nearest(x.v[i] * to_code.v[i]);
      const Lanes e = x.v[i] - (entry * k.v[i]) * row_scales.v[i];
      cost.v[i] += weight * (e * e);
      e.store_unaligned(errors + c * kTileRows + i * Lanes::size);
    }
  }
  return cost;
}

struct Best {
  Tile k, cost;
};

void Try(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows, const Tile& k,
         float* errors, Best* best) {
  const Tile cost = Round(book, block, rows, k, errors);
  for (size_t i = 0; i < kVectors; ++i) {
    const auto better = cost.v[i] < best->cost.v[i];
    best->cost.v[i] = xsimd::select(better, cost.v[i], best->cost.v[i]);
    best->k.v[i] = xsimd::select(better, k.v[i], best->k.v[i]);
  }
}

}  // namespace

int g_starts = 8, g_refine = 2;
float g_low = 0.75f, g_high = 1.2f;

void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    float* errors_out, size_t errors_stride, FeedbackResult* result) {
  float errors[kLargestFeedbackBlock * kTileRows];
  const Lanes zero(0.0f), limit(kLargestScale);
  const Tile row_scales = Load(rows.row_scales);
  Tile extreme{};
  for (auto& v : extreme.v) v = zero;
  for (size_t c = 0; c < block.n; ++c) {
    const Tile x = Load(rows.values + c * rows.stride);
    for (size_t i = 0; i < kVectors; ++i) {
      extreme.v[i] = xsimd::select(xsimd::abs(x.v[i]) > xsimd::abs(extreme.v[i]), x.v[i], extreme.v[i]);
    }
  }
  Best best;
  for (auto& v : best.k.v) v = zero;
  best.cost = Round(book, block, rows, best.k, errors);
  for (const float end : {book.first, book.last}) {
    for (int s = 0; s < g_starts; ++s) {
      const float start = g_low + (g_high - g_low) * (s + 0.5f) / g_starts;
      Tile k;
      for (size_t i = 0; i < kVectors; ++i) {
        const Lanes ratio = (extreme.v[i] * Reciprocal(row_scales.v[i])) * Lanes(1.0f / (end * start));
        k.v[i] = glint::Round(xsimd::min(xsimd::max(ratio, -limit), limit));
      }
      Try(book, block, rows, k, errors, &best);
    }
  }
  for (int s = g_refine; s > 0; --s) {
    const Tile center = best.k;
    for (const float step : {-1.0f * s, 1.0f * s}) {
      Tile k;
      for (size_t i = 0; i < kVectors; ++i) {
        k.v[i] = xsimd::min(xsimd::max(center.v[i] + Lanes(step), -limit), limit);
      }
      Try(book, block, rows, k, errors, &best);
    }
  }
  // Once more with the best, for the errors and codes.
  Round(book, block, rows, best.k, errors);
  Store(best.k, result->scales);
  result->cost = 0;
  for (size_t c = 0; c < block.n; ++c) {
    const Tile e = Load(errors + c * kTileRows);
    Tile x = Load(rows.values + c * rows.stride);
    for (size_t j = 0; j < c; ++j) {
      for (size_t i = 0; i < kVectors; ++i) {
        x.v[i] -= Lanes(block.factor[c * block.stride + j]) *
                  Lanes::load_unaligned(errors + j * kTileRows + i * Lanes::size);
      }
    }
    for (size_t i = 0; i < kVectors; ++i) {
      float code[Lanes::size];
      book.Code(x.v[i] * Reciprocal(best.k.v[i] * row_scales.v[i])).store_unaligned(code);
      for (size_t l = 0; l < Lanes::size; ++l) {
        result->codes[c * kTileRows + i * Lanes::size + l] = static_cast<uint8_t>(code[l]);
      }
    }
    Store(e, errors_out + c * errors_stride);
    for (size_t r = 0; r < kTileRows; ++r) {
      const double x1 = errors[c * kTileRows + r];
      result->cost += block.weights[c] * x1 * x1;
    }
  }
}

}  // namespace glint
