#include "quant/encode_tile.h"

#include <algorithm>
#include <bit>
#include <cmath>
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

TileRows TilesOf(uint64_t cols, const float* importance) {
  TileRows in{nullptr, 0, cols, {}, nullptr, 0};
  if (!importance) return in;
  const auto [least, largest] = std::minmax_element(importance, importance + cols);
  if (*least == *largest) return in;  // nothing to weigh; all may be 0
  in.importance = importance;
  (void)std::frexp(*largest, &in.exponent);
  return in;
}

float BlockWeights(const TileRows& in, uint64_t begin, size_t n, float* weights) {
  float largest = 0.0f;
  if (in.importance) {
    for (size_t c = 0; c < n; ++c) largest = std::max(largest, in.importance[begin + c]);
  }
  if (largest == 0.0f) {
    std::fill_n(weights, n, 1.0f);
    return in.importance ? 0.0f : 1.0f;
  }
  int exponent;
  (void)std::frexp(largest, &exponent);
  const double factor = std::ldexp(1.0, 1 - exponent);
  for (size_t c = 0; c < n; ++c) {
    weights[c] = static_cast<float>(in.importance[begin + c] * factor);
  }
  return static_cast<float>(std::ldexp(1.0, exponent - in.exponent));
}

namespace {

void PackInt4(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  PackNibbles(codes, n, n_rows, 32, out);
}

void PackInt4x(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  const size_t first = std::min<size_t>(n, 16);
  PackNibbles(codes, first, n_rows, 16, out);
  PackNibbles(codes + 16 * kTileRows, n - first, n_rows, 16, out + 128);
}

void PackInt3(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  const size_t first = std::min<size_t>(n, 16);
  PackThrees(codes, first, n_rows, 0, out);
  PackThrees(codes + 16 * kTileRows, n - first, n_rows, 1, out);
}

void PackInt6(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  const size_t first = std::min<size_t>(n, 16);
  PackSixes(codes, first, n_rows, out);
  PackSixes(codes + 16 * kTileRows, n - first, n_rows, out + 192);
}

// By DType.
using Pack = void (*)(const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out);
constexpr Pack kPackers[kDTypeCount] = {nullptr,  nullptr,   nullptr,  nullptr,  nullptr, nullptr,
                                        PackInt4, PackInt4x, PackInt4, PackInt3, PackInt6};

}  // namespace

void PackCodes(DType dtype, const uint8_t* codes, size_t n, uint64_t n_rows, uint8_t* out) {
  kPackers[static_cast<size_t>(dtype)](codes, n, n_rows, out);
}

}  // namespace glint
