#include <algorithm>
#include <cmath>
#include <iterator>

#include "quant/codebook.h"
#include "quant/lanes.h"

namespace glint {
namespace {

constexpr float kTiny = 0x1p-60f;
constexpr float kLargestScale = 127.0f;

// Where a search starts. Each start gives codes, these the best scale by least squares; what is
// gained from start to start is luck in rounding, so that many are needed, and two families find
// more than many more of one (docs/QUANT.md).
struct Starts {
  // Multiples of an end of the codebook onto which the row's largest element falls: above 1 it is
  // clipped for the sake of the others.
  const float* multiples;
  size_t n_multiples;
  // The element that weighs most is put onto the values of at least this share of the farther end.
  float least_share, least_share_weighted;
  int neighbours;  // integer scales tried on each side of the nearest
};
constexpr float kOf16[] = {0.78f, 0.82f, 0.86f, 0.9f, 0.94f, 0.98f, 1.02f, 1.06f, 1.1f, 1.15f};
constexpr float kOf8[] = {0.74f, 0.82f, 0.9f, 0.98f, 1.06f, 1.14f, 1.22f, 1.3f};
constexpr float kOf64[] = {0.82f, 0.86f, 0.9f, 0.94f, 0.98f, 1.02f};
constexpr Starts kStarts16 = {kOf16, std::size(kOf16), 0.48f, 0.15f, 1};
constexpr Starts kStarts8 = {kOf8, std::size(kOf8), 0.3f, 0.1f, 1};
constexpr Starts kStarts64 = {kOf64, std::size(kOf64), 0.7f, 0.6f, 3};

const Starts& StartsOf(const Codebook& book) {
  return book.n_codes == 16 ? kStarts16 : book.n_codes == 8 ? kStarts8 : kStarts64;
}

// Per row, signs kept: the element of largest magnitude, and the one whose square weighs most. Both
// are 0 where the largest is tiny.
struct Leaders {
  float largest[kTileRows], heaviest[kTileRows];
};

Leaders FindLeaders(const WeightedBlock& block) {
  Leaders leaders{};
  float most[kTileRows] = {};
  for (size_t c = 0; c < block.n; ++c) {
    const float* x = block.x + c * kTileRows;
    const float* weighted = block.weighted + c * kTileRows;
    for (size_t r = 0; r < kTileRows; ++r) {
      const float square = x[r] * weighted[r];
      const bool larger = std::fabs(x[r]) > std::fabs(leaders.largest[r]);
      leaders.largest[r] = larger ? x[r] : leaders.largest[r];
      leaders.heaviest[r] = square > most[r] ? x[r] : leaders.heaviest[r];
      most[r] = square > most[r] ? square : most[r];
    }
  }
  for (float* leader : {leaders.largest, leaders.heaviest}) {
    for (size_t r = 0; r < kTileRows; ++r) {
      if (std::fabs(leader[r]) < kTiny) leader[r] = 0.0f;
    }
  }
  return leaders;
}

// The best scale per row so far, by its gain: what the fit takes away from the weighted squares.
struct Best {
  float scale[kTileRows] = {}, gain[kTileRows] = {};
};

// Tries the codes that x * value / leader has.
void TryStart(const Codebook& book, const WeightedBlock& block, const float* inverse_leader,
              float value, Best* best) {
  float to_value[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) to_value[r] = inverse_leader[r] * value;
  Products sums;
  SumProducts(book, block, to_value, &sums);
  for (size_t r = 0; r < kTileRows; ++r) {
    // tt is 0 only where all take a value 0, or weigh next to nothing: nothing to gain.
    const float scale = sums.tt[r] >= kTiny ? sums.xt[r] / sums.tt[r] : 0.0f;
    const float gain = scale * sums.xt[r];
    const bool better = gain > best->gain[r];
    best->gain[r] = better ? gain : best->gain[r];
    best->scale[r] = better ? scale : best->scale[r];
  }
}

float FartherEnd(const Codebook& book) {
  return -book.first > book.last ? book.first : book.last;
}

}  // namespace

void FindScales(const Codebook& book, const WeightedBlock& block, bool search, float* scales) {
  const Leaders leaders = FindLeaders(block);
  const float end = FartherEnd(book);
  if (!search) {
    for (size_t r = 0; r < kTileRows; ++r) scales[r] = leaders.largest[r] / end;
    return;
  }
  float inverse_largest[kTileRows], inverse_heaviest[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) {
    inverse_largest[r] = InverseOf(leaders.largest[r]);
    inverse_heaviest[r] = InverseOf(leaders.heaviest[r]);
  }
  const Starts& starts = StartsOf(book);
  Best best;
  for (size_t i = 0; i < starts.n_multiples; ++i) {
    TryStart(book, block, inverse_largest, starts.multiples[i] * book.first, &best);
    TryStart(book, block, inverse_largest, starts.multiples[i] * book.last, &best);
  }
  const float least = block.is_weighted ? starts.least_share_weighted : starts.least_share;
  for (size_t i = 0; i < book.n_codes; ++i) {
    if (std::fabs(book.values[i]) < least * std::fabs(end)) continue;
    TryStart(book, block, inverse_heaviest, book.values[i], &best);
  }
  std::copy_n(best.scale, kTileRows, scales);
}

void ChooseIntegerScales(const Codebook& book, const WeightedBlock& block, const float* row_scales,
                         const float* wanted, bool search, float* chosen, Products* sums) {
  float errors[kTileRows] = {}, nearest[kTileRows];  // errors: without the sum of squares
  const auto limit = [](float k) { return std::min(std::max(k, -kLargestScale), kLargestScale); };
  for (size_t r = 0; r < kTileRows; ++r) {
    nearest[r] = Round(limit(wanted[r] * InverseOf(row_scales[r])));
    chosen[r] = sums->xt[r] = sums->tt[r] = 0.0f;  // scale 0: the block becomes 0
  }
  if (!search) {
    std::copy_n(nearest, kTileRows, chosen);
    return;
  }
  // 0, -1, 1, -2, 2, ...
  const int n_tries = 1 + 2 * StartsOf(book).neighbours;
  for (int i = 0; i < n_tries; ++i) {
    const auto step = static_cast<float>(i % 2 == 0 ? i / 2 : -(i + 1) / 2);
    float k[kTileRows], scale[kTileRows], to_value[kTileRows];
    for (size_t r = 0; r < kTileRows; ++r) {
      k[r] = limit(nearest[r] + step);
      scale[r] = k[r] * row_scales[r];
      to_value[r] = InverseOf(scale[r]);
    }
    Products next;
    SumProducts(book, block, to_value, &next);
    for (size_t r = 0; r < kTileRows; ++r) {
      const float error = scale[r] * (scale[r] * next.tt[r] - (next.xt[r] + next.xt[r]));
      const bool better = error < errors[r];
      errors[r] = better ? error : errors[r];
      chosen[r] = better ? k[r] : chosen[r];
      sums->xt[r] = better ? next.xt[r] : sums->xt[r];
      sums->tt[r] = better ? next.tt[r] : sums->tt[r];
    }
  }
}

}  // namespace glint
