#pragma once
#include "quant/codebook.h"
#include "quant/lanes.h"

// To the nearest value of a codebook, a column of 16 rows at a time. A rounder is made for a
// codebook and per row a factor that brings numbers to its values.
namespace glint {

constexpr size_t kLaneSteps = kTileRows / Lanes::size;

// A column's places on the grid of half steps: floor(2 * x * to_value), within -128..127.
inline Bytes GridOf(const float* x, const Lanes* to_grid) {
  int32_t places[kTileRows];
  for (size_t i = 0; i < kLaneSteps; ++i) {
    const Lanes place = Lanes::load_unaligned(x + i * Lanes::size) * to_grid[i];
    // The conversion cuts off towards zero: numbers that are not negative are rounded down.
    const Lanes up = min(max(place + Lanes(128.0f), Lanes(0.0f)), Lanes(255.0f));
    to_int(up).store_unaligned(places + i * Lanes::size);
  }
  int8_t bytes[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) bytes[r] = static_cast<int8_t>(places[r] - 128);
  return Bytes::load_unaligned(bytes);
}

// first + the steps whose thresholds a column's places pass: entries, or with steps of 1 their
// codes.
template <size_t kSteps, typename StepOf>
inline Bytes PassSteps(const Codebook& book, Bytes grid, Bytes sum, StepOf step) {
  const Bytes zero(int8_t{0});
  for (size_t i = 0; i < kSteps; ++i) {
    sum += select(grid > Bytes::load_unaligned(book.thresholds[i]), step(i), zero);
  }
  return sum;
}

// The values of a table nearest to a column, as floats, and their codes.
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

// The same for a linear codebook.
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
    return Round(min(max(value, first), last));
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

// Which rounder a codebook needs: TableRounder<15>, TableRounder<7>, LinearRounder.
inline size_t KindOf(const Codebook& book) {
  return book.is_linear ? 2 : book.n_codes == 8 ? 1 : 0;
}

}  // namespace glint
