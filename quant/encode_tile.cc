#include "quant/encode_tile.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace glint {

void GatherBlock(const TileRows& in, uint64_t begin, size_t n, const float* factors, float* out) {
  if (n == 0) return;  // a block of padding: its columns lie beyond the rows
  if (in.n_rows < kTileRows) std::fill_n(out, n * kTileRows, 0.0f);
  for (size_t r = 0; r < in.n_rows; ++r) {
    const float* row = in.rows + r * in.cols + begin;
    for (size_t c = 0; c < n; ++c) out[c * kTileRows + r] = row[c] * factors[r];
  }
}

Normalizer NormalizerOf(float largest) {
  const int biased = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23 & 0xff);
  // 254 - e is the biased exponent of the inverse; 1..253 keeps both normal.
  const auto e = static_cast<uint32_t>(std::clamp(biased, 1, 253));
  return {std::bit_cast<float>((254 - e) << 23), std::bit_cast<float>(e << 23)};
}

void PackBytes(const int8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  std::memset(out, 0, 512);
  for (size_t c = 0; c < n; ++c) {
    uint8_t* at = out + (c / 4) * 64 + c % 4;
    for (size_t r = 0; r < n_rows; ++r) at[4 * r] = static_cast<uint8_t>(codes[c * kTileRows + r]);
  }
}

void PackNibbles(const uint8_t* codes, size_t n, uint64_t n_rows, size_t block, uint8_t* out) {
  const size_t half = block / 2;
  std::memset(out, 0, half * kTileRows);
  for (size_t c = 0; c < n; ++c) {
    const size_t low = c % half, shift = c < half ? 0 : 4;
    uint8_t* at = out + (low / 4) * 64 + low % 4;
    for (size_t r = 0; r < n_rows; ++r) {
      at[4 * r] = static_cast<uint8_t>(at[4 * r] | codes[c * kTileRows + r] << shift);
    }
  }
}

void PackThrees(const uint8_t* codes, size_t n, uint64_t n_rows, size_t half, uint8_t* out) {
  const auto add = [out, half](size_t byte, unsigned bits) {
    out[byte] = static_cast<uint8_t>(out[byte] | bits << (4 * half));
  };
  if (half == 0) std::memset(out, 0, 12 * kTileRows);
  for (size_t c = 0; c < n; ++c) {
    const size_t vector = c / 4;
    for (size_t r = 0; r < n_rows; ++r) {
      const unsigned code = codes[c * kTileRows + r];
      const size_t byte = 4 * r + c % 4;
      if (vector < 3) {
        const unsigned below = (8u >> vector) - 1;  // the bits under the one that is not its own
        add(64 * vector + byte, (code & below) | (code & ~below) << 1);
      } else {
        for (size_t j = 0; j < 3; ++j) add(64 * j + byte, (code >> (2 - j) & 1) << (3 - j));
      }
    }
  }
}

void PackSixes(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  std::memset(out, 0, 12 * kTileRows);
  for (size_t c = 0; c < n; ++c) {
    const size_t vector = c / 4;
    for (size_t r = 0; r < n_rows; ++r) {
      const unsigned code = codes[c * kTileRows + r];
      uint8_t* at = out + 4 * r + c % 4;
      if (vector < 3) {
        at[64 * vector] = static_cast<uint8_t>(at[64 * vector] | code);
      } else {
        for (size_t j = 0; j < 3; ++j) {
          at[64 * j] = static_cast<uint8_t>(at[64 * j] | (code >> (4 - 2 * j) & 3) << 6);
        }
      }
    }
  }
}

Codebook::Codebook(const Int4Table& table) {
  first = table.front();
  last = table.back();
  for (size_t i = 0; i < 15; ++i) {
    thresholds[i] = static_cast<float>(table[i] + table[i + 1]) * 0.5f;
    steps[i] = static_cast<float>(table[i + 1] - table[i]);
    ones[i] = 1.0f;
  }
}

namespace {

// Where the largest element first lands, as a multiple of the table's end: above 1 it is clipped
// for the sake of the others. The least squares fit after each start moves on from there, so that a
// dozen starts find what a hundred find (docs/QUANT.md).
constexpr float kStarts[] = {0.75f, 0.79f, 0.83f, 0.87f, 0.91f, 0.95f,
                             1.0f,  1.04f, 1.08f, 1.12f, 1.16f, 1.2f};

// The element of largest magnitude per lane, sign kept.
Lanes Extreme(const float* block, size_t n) {
  Lanes extreme(0.0f);
  for (size_t c = 0; c < n; ++c) {
    const Lanes x = Lanes::load_unaligned(block + c * kTileRows);
    extreme = xsimd::select(xsimd::abs(x) > xsimd::abs(extreme), x, extreme);
  }
  return extreme;
}

// The best scale per lane among those that start with `extreme` at the table's entry `end`.
struct Fit {
  Lanes scale, gain;  // gain: how much of the sum of squares the fit takes away
};

Fit FitOrientation(const Codebook& book, const float* block, size_t n, Lanes inverse, float end) {
  Fit best{Lanes(0.0f), Lanes(-1.0f)};
  for (const float start : kStarts) {
    const auto [wt, tt] = SumProducts(book, block, n, inverse * Lanes(end * start));
    // tt is 0 only where a table has an entry 0 that takes all; then there is nothing to gain.
    const Lanes scale = Divide(wt, xsimd::max(tt, Lanes(1.0f)));
    const Lanes gain = scale * wt;
    const auto better = gain > best.gain;
    best.gain = xsimd::select(better, gain, best.gain);
    best.scale = xsimd::select(better, scale, best.scale);
  }
  return best;
}

}  // namespace

BlockScales FindScales(const Codebook& book, const float* block, size_t n, bool search) {
  BlockScales found;
  const Lanes zero(0.0f), tiny(0x1p-60f);
  for (size_t lane = 0; lane < kTileRows; lane += Lanes::size) {
    const Lanes extreme = Extreme(block + lane, n);
    const auto counts = xsimd::abs(extreme) > tiny;
    const Lanes inverse = Reciprocal(xsimd::select(counts, extreme, zero));
    Lanes scale[2];
    if (search) {
      const Fit a = FitOrientation(book, block + lane, n, inverse, book.first);
      const Fit b = FitOrientation(book, block + lane, n, inverse, book.last);
      const auto a_wins = a.gain >= b.gain;
      scale[0] = xsimd::select(a_wins, a.scale, b.scale);
      scale[1] = xsimd::select(a_wins, b.scale, a.scale);
    } else {
      const float end = -book.first > book.last ? book.first : book.last;
      scale[0] = scale[1] = Divide(extreme, Lanes(end));
    }
    for (size_t i = 0; i < 2; ++i) {
      xsimd::select(counts, scale[i], zero).store_unaligned(&found.scale[i][lane]);
    }
  }
  return found;
}

void NearestCodes(const Codebook& book, const float* block, size_t n, const float* scales,
                  uint8_t* codes) {
  for (size_t lane = 0; lane < kTileRows; lane += Lanes::size) {
    const Lanes to_code = Reciprocal(Lanes::load_unaligned(scales + lane));
    for (size_t c = 0; c < n; ++c) {
      float code[Lanes::size];
      book.Code(Lanes::load_unaligned(block + c * kTileRows + lane) * to_code)
          .store_unaligned(code);
      for (size_t i = 0; i < Lanes::size; ++i) {
        codes[c * kTileRows + lane + i] = static_cast<uint8_t>(code[i]);
      }
    }
  }
}

}  // namespace glint
