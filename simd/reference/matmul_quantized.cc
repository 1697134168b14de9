#include <cmath>

#include "quant/f16.h"
#include "simd/kernel_list.h"

namespace glint::reference {
namespace {

// One output: row `row` of w times token `token`. `at` is the index of the token's first block in
// the panel's arrays; its next block is `step` further.
struct Output {
  const MatrixView& w;
  const QuantizedRows& x;
  uint64_t tile;
  size_t lane;
  size_t at;
  size_t step;

  const int8_t* X(size_t b) const { return x.codes + (at + b * step) * kActivationBlock; }
  float XScale(size_t b) const { return x.scales[at + b * step]; }
  int32_t XSum(size_t b) const {
    return x.sums[2 * (at + b * step)] + x.sums[2 * (at + b * step) + 1];
  }
  template <class T>
  T BlockScale(size_t b) const {
    return reinterpret_cast<const T*>(w.BlockScales(tile))[b * kTileRows + lane];
  }
  // Byte of this row in 64-byte vector v of the tile's codes, for column c of its 4.
  uint8_t Byte(size_t v, size_t c) const { return w.Codes(tile)[v * 64 + 4 * lane + c]; }
  int32_t Entry(uint8_t nibble) const { return w.Table()[nibble & 15]; }
};

// sum of table entries times x over `width` columns that begin at x; the codes are vectors
// [v, v + width / 8), whose low nibbles hold the first half of the columns.
int32_t TableDot(const Output& o, size_t v, const int8_t* x, size_t width) {
  int32_t sum = 0;
  for (size_t i = 0; i < width / 2; ++i) {
    const uint8_t byte = o.Byte(v + i / 4, i % 4);
    sum += o.Entry(byte) * x[i] + o.Entry(byte >> 4) * x[width / 2 + i];
  }
  return sum;
}

float Int8(const Output& o, size_t blocks, float bias) {
  float acc = 0;
  for (size_t b = 0; b < blocks; ++b) {
    int32_t d = 0;
    for (size_t c = 0; c < 32; ++c) {
      d += static_cast<int8_t>(o.Byte(8 * b + c / 4, c % 4)) * o.X(b)[c];
    }
    acc = std::fma(static_cast<float>(d) * o.XScale(b), F16ToF32(o.BlockScale<uint16_t>(b)), acc);
  }
  return acc + bias;
}

float Int4(const Output& o, size_t blocks, float bias) {
  float acc = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const int32_t d = TableDot(o, 4 * b, o.X(b), 32);
    acc = std::fma(static_cast<float>(d) * o.XScale(b), static_cast<float>(o.BlockScale<int8_t>(b)),
                   acc);
  }
  return std::fma(acc, o.w.RowScales(o.tile)[o.lane], bias);
}

float Int4x(const Output& o, size_t blocks, float bias) {
  float acc = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const float d0 = static_cast<float>(TableDot(o, 4 * b, o.X(b), 16));
    const float d1 = static_cast<float>(TableDot(o, 4 * b + 2, o.X(b) + 16, 16));
    const float s0 = o.BlockScale<int8_t>(2 * b), s1 = o.BlockScale<int8_t>(2 * b + 1);
    acc = std::fma(std::fma(d0, s0, d1 * s1), o.XScale(b), acc);
  }
  return std::fma(acc, o.w.RowScales(o.tile)[o.lane], bias);
}

float Int4a(const Output& o, size_t blocks, float bias) {
  const uint8_t* offsets = o.w.BlockOffsets(o.tile);
  float acc = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const size_t at = b * kTileRows + o.lane;
    int32_t d = TableDot(o, 4 * b, o.X(b), 32);
    if (o.w.layout.offset == BlockOffset::kZero) {
      d -= reinterpret_cast<const int8_t*>(offsets)[at] * o.XSum(b);
    }
    acc = std::fma(static_cast<float>(d) * o.XScale(b), o.BlockScale<float>(b), acc);
    if (o.w.layout.offset == BlockOffset::kMin) {
      const float min = F16ToF32(reinterpret_cast<const uint16_t*>(offsets)[at]);
      acc = std::fma(static_cast<float>(o.XSum(b)) * o.XScale(b), min, acc);
    }
  }
  return acc + bias;
}

// Calls one of the above for every row of the tiles and every token.
template <class Dot>
void Matmul(const MatrixView& w, const QuantizedRows& x, size_t m, const float* bias, float* y,
            size_t y_stride, size_t tile_begin, size_t tile_end, Dot dot) {
  const size_t blocks = w.layout.padded_cols / kActivationBlock;
  for (size_t row = tile_begin * kTileRows; row < tile_end * kTileRows; ++row) {
    if (row >= w.layout.rows) break;
    for (size_t t = 0; t < m; ++t) {
      const size_t first = t - t % kPanelTokens;
      const size_t tokens = m - first < kPanelTokens ? m - first : kPanelTokens;
      const Output output{w,     x, row / kTileRows, row % kTileRows, first * blocks + t - first,
                          tokens};
      y[t * y_stride + row] = dot(output, blocks, bias ? bias[row] : 0.0f);
    }
  }
}

}  // namespace

void MatmulInt8(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, Int8);
}
void MatmulInt4(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, Int4);
}
void MatmulInt4x(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, Int4x);
}
void MatmulInt4a(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, Int4a);
}

}  // namespace glint::reference
