#include "quant/encode_feedback.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "quant/rounders.h"

namespace glint {
namespace {

constexpr float kLargestScale = 127.0f;

// Where a search starts: the row's largest element falls onto these multiples of each end of the
// codebook. Then how far from the best of those integers its neighbours are tried. docs/QUANT.md
// has what more and fewer give.
struct Starts {
  const float* multiples;
  size_t n;
};
constexpr float kOfTables[] = {0.770f, 0.807f, 0.844f, 0.881f, 0.918f, 0.955f,
                               0.992f, 1.029f, 1.066f, 1.103f, 1.140f, 1.177f};
constexpr float kOfLinear[] = {0.80f, 0.82f, 0.84f, 0.86f, 0.88f, 0.90f, 0.92f,
                               0.94f, 0.96f, 0.98f, 1.00f, 1.02f, 1.04f};
// An element that makes this share of a block's cost falls onto every value of at least this share
// of the farther end.
constexpr float kHeavy = 0.5f, kLeastHeavy = 0.05f;
constexpr float kSteps[] = {2.0f, 1.0f};

Starts StartsOf(const Codebook& book) {
  if (book.is_linear) return {kOfLinear, std::size(kOfLinear)};
  return {kOfTables, std::size(kOfTables)};
}

// Takes off x what column c takes over of the errors (n, 16) of the columns before it.
inline void TakeErrors(const FeedbackBlock& block, size_t c, const float* errors, Lanes* x) {
  const float* const factor = block.factor + c * block.stride;
  for (size_t j = 0; j < c; ++j) {
    const Lanes f(factor[j]);
    const float* const e = errors + j * kTileRows;
    for (size_t i = 0; i < kLaneSteps; ++i) x[i] -= f * Lanes::load_unaligned(e + i * Lanes::size);
  }
}

// Rounds the block with the integer scales k (16): errors, and what that costs. With codes, these
// too.
template <typename Rounder>
void Round(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
           const float* k, float* errors, float* costs, uint8_t* codes) {
  float to_value[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) to_value[r] = InverseOf(k[r] * rows.row_scales[r]);
  const Rounder rounder(book, to_value);
  Lanes cost[kLaneSteps], x[kLaneSteps];
  std::fill_n(cost, kLaneSteps, Lanes(0.0f));
  for (size_t c = 0; c < block.n; ++c) {
    const float* const from = rows.values + c * rows.stride;
    for (size_t i = 0; i < kLaneSteps; ++i) x[i] = Lanes::load_unaligned(from + i * Lanes::size);
    TakeErrors(block, c, errors, x);
    float adapted[kTileRows], values[kTileRows];
    for (size_t i = 0; i < kLaneSteps; ++i) x[i].store_unaligned(adapted + i * Lanes::size);
    rounder.Values(adapted, values);
    if (codes) rounder.Codes(adapted, codes + c * kTileRows);
    const Lanes weight(block.weights[c]);
    for (size_t i = 0; i < kLaneSteps; ++i) {
      const size_t at = i * Lanes::size;
      const Lanes value = Lanes::load_unaligned(values + at) * Lanes::load_unaligned(k + at);
      const Lanes e = x[i] - value * Lanes::load_unaligned(rows.row_scales + at);
      cost[i] += weight * (e * e);
      e.store_unaligned(errors + c * kTileRows + at);
    }
  }
  for (size_t i = 0; i < kLaneSteps; ++i) cost[i].store_unaligned(costs + i * Lanes::size);
}

template <typename Rounder>
class Search {
 public:
  Search(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
         FeedbackResult* result)
      : book_(book), block_(block), rows_(rows), best_(result) {
    std::fill_n(best_->scales, kTileRows, 0.0f);
    Round<Rounder>(book, block, rows, best_->scales, best_->errors, best_->costs, nullptr);
  }

  void TryStarts() {
    float extremes[kTileRows] = {}, k[kTileRows];
    for (size_t c = 0; c < block_.n; ++c) {
      const float* const x = rows_.values + c * rows_.stride;
      for (size_t r = 0; r < kTileRows; ++r) {
        extremes[r] = std::fabs(x[r]) > std::fabs(extremes[r]) ? x[r] : extremes[r];
      }
    }
    const Starts starts = StartsOf(book_);
    for (const float end : {book_.first, book_.last}) {
      for (size_t s = 0; s < starts.n; ++s) {
        const float factor = 1.0f / (end * starts.multiples[s]);
        for (size_t r = 0; r < kTileRows; ++r) {
          k[r] = extremes[r] * InverseOf(rows_.row_scales[r]) * factor;
        }
        Try(k);
      }
    }
  }
  // The element that costs most falls onto each value of the codebook, if it costs much in any row:
  // an input that is far larger than the others must meet a weight that is nearly exact.
  void TryHeaviest() {
    float heaviest[kTileRows] = {}, most[kTileRows] = {}, sum[kTileRows] = {}, k[kTileRows];
    for (size_t c = 0; c < block_.n; ++c) {
      const float* const x = rows_.values + c * rows_.stride;
      for (size_t r = 0; r < kTileRows; ++r) {
        const float cost = block_.weights[c] * (x[r] * x[r]);
        heaviest[r] = cost > most[r] ? x[r] : heaviest[r];
        most[r] = cost > most[r] ? cost : most[r];
        sum[r] += cost;
      }
    }
    bool is_heavy = false;
    for (size_t r = 0; r < kTileRows; ++r) is_heavy |= most[r] > kHeavy * sum[r];
    if (!is_heavy) return;
    const float end = std::max(-book_.first, book_.last);
    for (size_t code = 0; code < book_.n_codes; ++code) {
      if (std::fabs(book_.Value(code)) < kLeastHeavy * end) continue;
      const float inverse = 1.0f / book_.Value(code);
      for (size_t r = 0; r < kTileRows; ++r) {
        k[r] = heaviest[r] * InverseOf(rows_.row_scales[r]) * inverse;
      }
      Try(k);
    }
  }
  void TryNeighbours() {
    for (const float step : kSteps) {
      float low[kTileRows], high[kTileRows];
      for (size_t r = 0; r < kTileRows; ++r) {
        low[r] = best_->scales[r] - step;
        high[r] = best_->scales[r] + step;
      }
      Try(low);
      Try(high);
    }
  }
  // The integers next to k.
  void Try(const float* wanted) {
    float k[kTileRows], costs[kTileRows];
    for (size_t r = 0; r < kTileRows; ++r) {
      k[r] = glint::Round(std::clamp(wanted[r], -kLargestScale, kLargestScale));
    }
    Round<Rounder>(book_, block_, rows_, k, best_->errors, costs, nullptr);
    for (size_t r = 0; r < kTileRows; ++r) {
      const bool better = costs[r] < best_->costs[r];
      best_->scales[r] = better ? k[r] : best_->scales[r];
      best_->costs[r] = better ? costs[r] : best_->costs[r];
    }
  }
  void Finish() {
    Round<Rounder>(book_, block_, rows_, best_->scales, best_->errors, best_->costs, best_->codes);
  }

 private:
  const Codebook& book_;
  const FeedbackBlock& block_;
  const FeedbackRows& rows_;
  FeedbackResult* const best_;
};

template <typename Rounder>
void EncodeWith(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                FeedbackResult* result) {
  Search<Rounder> search(book, block, rows, result);
  if (rows.near) {
    search.Try(rows.near);
  } else {
    search.TryStarts();
    search.TryHeaviest();
  }
  search.TryNeighbours();
  search.Finish();
}

}  // namespace

void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    FeedbackResult* result) {
  using Encode =
      void (*)(const Codebook&, const FeedbackBlock&, const FeedbackRows&, FeedbackResult*);
  constexpr Encode kEncoders[] = {EncodeWith<TableRounder<15>>, EncodeWith<TableRounder<7>>,
                                  EncodeWith<LinearRounder>};
  kEncoders[KindOf(book)](book, block, rows, result);
}

// With M the factor, the cost of a rounding q is that of M^-1 (x - q), a column at a time: errors
// is M^-1 x - M^-1 q, and with q times f it would be errors - (f - 1) M^-1 q.
void FitRowScales(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                  const FeedbackResult& result, float* factors) {
  float taken[kLargestBlock * kTileRows];  // M^-1 q
  float both[kTileRows] = {}, squares[kTileRows] = {};
  for (size_t c = 0; c < block.n; ++c) {
    float* const q = taken + c * kTileRows;
    for (size_t r = 0; r < kTileRows; ++r) {
      q[r] = (book.Value(result.codes[c * kTileRows + r]) * result.scales[r]) * rows.row_scales[r];
    }
    Lanes x[kLaneSteps];
    for (size_t i = 0; i < kLaneSteps; ++i) x[i] = Lanes::load_unaligned(q + i * Lanes::size);
    TakeErrors(block, c, taken, x);
    for (size_t i = 0; i < kLaneSteps; ++i) x[i].store_unaligned(q + i * Lanes::size);
    for (size_t r = 0; r < kTileRows; ++r) {
      both[r] += block.weights[c] * (result.errors[c * kTileRows + r] * q[r]);
      squares[r] += block.weights[c] * (q[r] * q[r]);
    }
  }
  for (size_t r = 0; r < kTileRows; ++r) {
    const float factor = 1.0f + both[r] * InverseOf(squares[r]);
    factors[r] = factor > 0.5f && factor < 2.0f ? factor : 1.0f;  // false for nan
  }
}

void FeedbackCosts(const FeedbackBlock& block, const float* differences, float* costs) {
  float errors[kLargestBlock * kTileRows];
  Lanes cost[kLaneSteps], e[kLaneSteps];
  std::fill_n(cost, kLaneSteps, Lanes(0.0f));
  for (size_t c = 0; c < block.n; ++c) {
    const Lanes weight(block.weights[c]);
    for (size_t i = 0; i < kLaneSteps; ++i) {
      e[i] = Lanes::load_unaligned(differences + c * kTileRows + i * Lanes::size);
    }
    TakeErrors(block, c, errors, e);
    for (size_t i = 0; i < kLaneSteps; ++i) {
      e[i].store_unaligned(errors + c * kTileRows + i * Lanes::size);
      cost[i] += weight * (e[i] * e[i]);
    }
  }
  for (size_t i = 0; i < kLaneSteps; ++i) cost[i].store_unaligned(costs + i * Lanes::size);
}

}  // namespace glint
