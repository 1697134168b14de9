#include "quant/codebook.h"

#include <algorithm>

#include "quant/rounders.h"

namespace glint {

Codebook::Codebook(const Int4Table& table, size_t n) : n_codes(n), values{} {
  first = table[0];
  last = table[n - 1];
  for (size_t i = 0; i < n; ++i) values[i] = table[i];
  for (size_t i = 0; i + 1 < n; ++i) {
    // A grid point g stands for [g / 2, (g + 1) / 2): it is above the middle of two entries if it
    // is not below their sum.
    std::fill_n(thresholds[i], kTileRows, static_cast<int8_t>(table[i] + table[i + 1] - 1));
    std::fill_n(steps[i], kTileRows, static_cast<int8_t>(table[i + 1] - table[i]));
  }
}

Codebook Codebook::Linear(int low, size_t n) {
  Codebook book;
  book.n_codes = n;
  book.first = static_cast<float>(low);
  book.last = static_cast<float>(low + static_cast<int>(n) - 1);
  for (size_t i = 0; i < n; ++i) book.values[i] = book.first + static_cast<float>(i);
  book.is_linear = true;
  return book;
}

Codebook Codebook::Of(DType dtype, const Int4Table& table) {
  if (!Info(dtype).has_table) return Linear(-32, 64);
  return Codebook(table, dtype == DType::kInt3 ? 8 : 16);
}

void WeightedBlock::Weigh() {
  is_weighted = false;
  for (size_t c = 0; c < n; ++c) {
    is_weighted |= weights[c] != weights[0];
    for (size_t r = 0; r < kTileRows; ++r) {
      weighted[c * kTileRows + r] = weights[c] * x[c * kTileRows + r];
    }
  }
}

namespace {

template <typename Rounder>
void SumWith(const Codebook& book, const WeightedBlock& block, const float* to_value,
             Products* sums) {
  const Rounder rounder(book, to_value);
  Lanes xt[kLaneSteps], tt[kLaneSteps];
  for (size_t i = 0; i < kLaneSteps; ++i) xt[i] = tt[i] = Lanes(0.0f);
  for (size_t c = 0; c < block.n; ++c) {
    float values[kTileRows];
    rounder.Values(block.x + c * kTileRows, values);
    const Lanes weight(block.weights[c]);
    for (size_t i = 0; i < kLaneSteps; ++i) {
      const Lanes t = Lanes::load_unaligned(values + i * Lanes::size);
      xt[i] += Lanes::load_unaligned(block.weighted + c * kTileRows + i * Lanes::size) * t;
      tt[i] += (weight * t) * t;
    }
  }
  for (size_t i = 0; i < kLaneSteps; ++i) {
    xt[i].store_unaligned(sums->xt + i * Lanes::size);
    tt[i].store_unaligned(sums->tt + i * Lanes::size);
  }
}

template <typename Rounder>
void CodesWith(const Codebook& book, const float* x, size_t n, const float* to_value,
               uint8_t* codes) {
  const Rounder rounder(book, to_value);
  for (size_t c = 0; c < n; ++c) rounder.Codes(x + c * kTileRows, codes + c * kTileRows);
}

// By KindOf.
using Sum = void (*)(const Codebook&, const WeightedBlock&, const float*, Products*);
constexpr Sum kSums[] = {SumWith<TableRounder<15>>, SumWith<TableRounder<7>>,
                         SumWith<LinearRounder>};
using WriteCodes = void (*)(const Codebook&, const float*, size_t, const float*, uint8_t*);
constexpr WriteCodes kWriters[] = {CodesWith<TableRounder<15>>, CodesWith<TableRounder<7>>,
                                   CodesWith<LinearRounder>};

}  // namespace

void SumProducts(const Codebook& book, const WeightedBlock& block, const float* to_value,
                 Products* sums) {
  kSums[KindOf(book)](book, block, to_value, sums);
}

void NearestCodes(const Codebook& book, const float* x, size_t n, const float* scales,
                  uint8_t* codes) {
  float to_value[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) to_value[r] = InverseOf(scales[r]);
  kWriters[KindOf(book)](book, x, n, to_value, codes);
}

}  // namespace glint
