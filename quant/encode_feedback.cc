#include "quant/encode_feedback.h"

#include <algorithm>

namespace glint {
namespace {

constexpr size_t kVectors = kTileRows / Lanes::size;
constexpr float kLargestScale = 127.0f;
// Where the largest element first lands, as a multiple of the table's end, and then how far from the
// best of those integers its neighbours are tried. docs/QUANT.md has what more and fewer give.
constexpr float kStarts[] = {0.770f, 0.807f, 0.844f, 0.881f, 0.918f, 0.955f,
                             0.992f, 1.029f, 1.066f, 1.103f, 1.140f, 1.177f};
constexpr float kSteps[] = {2.0f, 1.0f};

struct Tile {  // a number per row
  Lanes v[kVectors];

  static Tile All(float x) {
    Tile t;
    std::fill_n(t.v, kVectors, Lanes(x));
    return t;
  }
  static Tile Load(const float* from) {
    Tile t;
    for (size_t i = 0; i < kVectors; ++i) t.v[i] = Lanes::load_unaligned(from + i * Lanes::size);
    return t;
  }
  void Store(float* to) const {
    for (size_t i = 0; i < kVectors; ++i) v[i].store_unaligned(to + i * Lanes::size);
  }
};

Tile Limited(const Tile& k) {
  const Lanes limit(kLargestScale);
  Tile t;
  for (size_t i = 0; i < kVectors; ++i) {
    t.v[i] = xsimd::min(xsimd::max(k.v[i], -limit), limit);
  }
  return t;
}

// Takes column c's share of the errors before it off x.
inline void TakeErrors(const FeedbackBlock& block, size_t c, const float* errors, Tile* x) {
  const float* const factor = block.factor + c * block.stride;
  for (size_t j = 0; j < c; ++j) {
    const Lanes f(factor[j]);
    const float* const e = errors + j * kTileRows;
    for (size_t i = 0; i < kVectors; ++i) x->v[i] -= f * Lanes::load_unaligned(e + i * Lanes::size);
  }
}

class Search {
 public:
  Search(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows)
      : book_(book), block_(block), rows_(rows), row_scales_(Tile::Load(rows.row_scales)) {
    best_ = Tile::All(0.0f);
    cost_ = Round(best_, nullptr);
  }

  // Both ends of the table for the largest element.
  void TryStarts() {
    const Tile extreme = Extreme();
    for (const float end : {book_.first, book_.last}) {
      for (const float start : kStarts) {
        const Lanes factor(1.0f / (end * start));
        Tile k;
        for (size_t i = 0; i < kVectors; ++i) {
          k.v[i] = (extreme.v[i] * Reciprocal(row_scales_.v[i])) * factor;
        }
        k = Limited(k);
        for (Lanes& v : k.v) v = glint::Round(v);
        Try(k);
      }
    }
  }
  void TryNeighbours() {
    for (const float step : kSteps) {
      const Tile center = best_;
      for (const float signed_step : {-step, step}) {
        Tile k = center;
        for (Lanes& v : k.v) v += Lanes(signed_step);
        Try(Limited(k));
      }
    }
  }
  void Try(const Tile& k) {
    const Tile cost = Round(k, nullptr);
    for (size_t i = 0; i < kVectors; ++i) {
      const auto better = cost.v[i] < cost_.v[i];
      cost_.v[i] = xsimd::select(better, cost.v[i], cost_.v[i]);
      best_.v[i] = xsimd::select(better, k.v[i], best_.v[i]);
    }
  }
  void Finish(FeedbackResult* result) {
    Round(best_, result->codes).Store(result->costs);
    best_.Store(result->scales);
    std::copy_n(errors_, block_.n * kTileRows, result->errors);
  }

 private:
  // The element of largest magnitude per lane, sign kept.
  Tile Extreme() const {
    Tile extreme = Tile::All(0.0f);
    for (size_t c = 0; c < block_.n; ++c) {
      const Tile x = Tile::Load(rows_.values + c * rows_.stride);
      for (size_t i = 0; i < kVectors; ++i) {
        const auto larger = xsimd::abs(x.v[i]) > xsimd::abs(extreme.v[i]);
        extreme.v[i] = xsimd::select(larger, x.v[i], extreme.v[i]);
      }
    }
    return extreme;
  }

  // Rounds the block with the integer scales k and returns what that costs.
  Tile Round(const Tile& k, uint8_t* codes) {
    Tile cost = Tile::All(0.0f), to_code;
    for (size_t i = 0; i < kVectors; ++i) {
      to_code.v[i] = Reciprocal(k.v[i] * row_scales_.v[i]);
    }
    for (size_t c = 0; c < block_.n; ++c) {
      Tile x = Tile::Load(rows_.values + c * rows_.stride);
      TakeErrors(block_, c, errors_, &x);
      const Lanes weight(block_.weights[c]);
      for (size_t i = 0; i < kVectors; ++i) {
        const Lanes scaled = x.v[i] * to_code.v[i];
        const Lanes e = x.v[i] - (book_.Nearest(scaled) * k.v[i]) * row_scales_.v[i];
        cost.v[i] += weight * (e * e);
        e.store_unaligned(errors_ + c * kTileRows + i * Lanes::size);
        if (codes) StoreCodes(book_.Code(scaled), codes + c * kTileRows + i * Lanes::size);
      }
    }
    return cost;
  }
  static void StoreCodes(Lanes codes, uint8_t* to) {
    float each[Lanes::size];
    codes.store_unaligned(each);
    for (size_t i = 0; i < Lanes::size; ++i) to[i] = static_cast<uint8_t>(each[i]);
  }

  const Codebook& book_;
  const FeedbackBlock& block_;
  const FeedbackRows& rows_;
  const Tile row_scales_;
  Tile best_, cost_;
  float errors_[kLargestFeedbackBlock * kTileRows];
};

}  // namespace

void EncodeFeedback(const Codebook& book, const FeedbackBlock& block, const FeedbackRows& rows,
                    FeedbackResult* result) {
  Search search(book, block, rows);
  if (rows.near) {
    search.Try(Tile::Load(rows.near));
  } else {
    search.TryStarts();
  }
  search.TryNeighbours();
  search.Finish(result);
}

void FeedbackCosts(const FeedbackBlock& block, const float* differences, float* costs) {
  float errors[kLargestFeedbackBlock * kTileRows];
  Tile cost = Tile::All(0.0f);
  for (size_t c = 0; c < block.n; ++c) {
    Tile e = Tile::Load(differences + c * kTileRows);
    TakeErrors(block, c, errors, &e);
    e.Store(errors + c * kTileRows);
    for (size_t i = 0; i < kVectors; ++i) {
      cost.v[i] += Lanes(block.weights[c]) * (e.v[i] * e.v[i]);
    }
  }
  cost.Store(costs);
}

}  // namespace glint
