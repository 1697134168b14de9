#include "quant/codebook.h"

#include <algorithm>

#include "quant/lanes.h"

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

using Bytes = xsimd::make_sized_batch_t<int8_t, kTileRows>;  // a column of a tile
constexpr size_t kLaneSteps = kTileRows / Lanes::size;

// A column's places on the grid of half steps: floor(2 * x * to_value), within -128..127.
Bytes GridOf(const float* x, const Lanes* to_grid) {
  int32_t places[kTileRows];
  for (size_t i = 0; i < kLaneSteps; ++i) {
    const Lanes place = Lanes::load_unaligned(x + i * Lanes::size) * to_grid[i];
    // The conversion cuts off towards zero: numbers that are not negative are rounded down.
    const Lanes up = xsimd::min(xsimd::max(place + Lanes(128.0f), Lanes(0.0f)), Lanes(255.0f));
    xsimd::to_int(up).store_unaligned(places + i * Lanes::size);
  }
  int8_t bytes[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) bytes[r] = static_cast<int8_t>(places[r] - 128);
  return Bytes::load_unaligned(bytes);
}

// first + the steps whose thresholds a column's places pass: entries, or with steps of 1 their
// codes.
template <size_t kSteps, typename StepOf>
Bytes PassSteps(const Codebook& book, Bytes grid, Bytes sum, StepOf step) {
  const Bytes zero(int8_t{0});
  for (size_t i = 0; i < kSteps; ++i) {
    sum += xsimd::select(grid > Bytes::load_unaligned(book.thresholds[i]), step(i), zero);
  }
  return sum;
}

// The values nearest to a column, as floats.
template <size_t kSteps>
struct TableRounder {
  const Codebook& book;
  Lanes to_grid[kLaneSteps];

  TableRounder(const Codebook& b, const float* to_value) : book(b) {
    for (size_t i = 0; i < kLaneSteps; ++i) {
      to_grid[i] = Lanes::load_unaligned(to_value + i * Lanes::size) * Lanes(2.0f);
    }
  }
  void Values(const float* x, float* out) const {
    int8_t entries[kTileRows];
    PassSteps<kSteps>(book, GridOf(x, to_grid), Bytes(static_cast<int8_t>(book.first)),
                      [&](size_t i) { return Bytes::load_unaligned(book.steps[i]); })
        .store_unaligned(entries);
    for (size_t r = 0; r < kTileRows; ++r) out[r] = entries[r];
  }
  void Codes(const float* x, uint8_t* out) const {
    int8_t codes[kTileRows];
    PassSteps<kSteps>(book, GridOf(x, to_grid), Bytes(int8_t{0}), [](size_t) {
      return Bytes(int8_t{1});
    }).store_unaligned(codes);
    for (size_t r = 0; r < kTileRows; ++r) out[r] = static_cast<uint8_t>(codes[r]);
  }
};

struct LinearRounder {
  Lanes first, last;
  Lanes to_value[kLaneSteps];

  LinearRounder(const Codebook& book, const float* factors) : first(book.first), last(book.last) {
    for (size_t i = 0; i < kLaneSteps; ++i) {
      to_value[i] = Lanes::load_unaligned(factors + i * Lanes::size);
    }
  }
  Lanes Value(const float* x, size_t i) const {
    const Lanes value = Lanes::load_unaligned(x + i * Lanes::size) * to_value[i];
    return Round(xsimd::min(xsimd::max(value, first), last));
  }
  void Values(const float* x, float* out) const {
    for (size_t i = 0; i < kLaneSteps; ++i) Value(x, i).store_unaligned(out + i * Lanes::size);
  }
  void Codes(const float* x, uint8_t* out) const {
    float codes[kTileRows];
    for (size_t i = 0; i < kLaneSteps; ++i) {
      (Value(x, i) - first).store_unaligned(codes + i * Lanes::size);
    }
    for (size_t r = 0; r < kTileRows; ++r) out[r] = static_cast<uint8_t>(codes[r]);
  }
};

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

// By kind of codebook: 16 entries, 8 entries, linear.
size_t KindOf(const Codebook& book) {
  return book.is_linear ? 2 : book.n_codes == 8 ? 1 : 0;
}
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
