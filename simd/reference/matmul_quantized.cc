#include <cmath>

#include "quant/f16.h"
#include "simd/fma.h"
#include "simd/kernel_list.h"

namespace glint::reference {
namespace {

// Columns of a block of int8, int4 and int4a weights.
constexpr size_t kWeightBlock = 32;

// One output: row `row` of w times token `token`. `at` is the index of the token's first block in
// the panel's arrays; its next block is `step` further.
struct Output {
  const MatrixView& w;
  const QuantizedRows& x;
  uint64_t tile;
  size_t lane;
  size_t at;
  size_t step;

  // Codes of x from column c on, within one of its blocks; and the sum of 32 of them.
  const int8_t* X(size_t c) const {
    const size_t block = at + c / kActivationBlock * step;
    return x.codes + block * kActivationBlock + c % kActivationBlock;
  }
  int32_t XSum(size_t c) const {
    const size_t block = at + c / kActivationBlock * step;
    const int16_t* sums = x.sums + block * kBlockSums + c % kActivationBlock / kSumColumns;
    return sums[0] + sums[1];
  }
  float XScale(size_t c) const { return x.scales[at + c / kActivationBlock * step]; }
  template <class T>
  T BlockScale(size_t b) const {
    return reinterpret_cast<const T*>(w.BlockScales(tile))[b * kTileRows + lane];
  }
  // Byte of this row in 64-byte vector v of the tile's codes, for column c of its 4.
  uint8_t Byte(size_t v, size_t c) const { return w.Codes(tile)[v * 64 + 4 * lane + c]; }
  int32_t Entry(uint8_t nibble) const { return w.Table()[nibble & 15]; }
};

// sum of table entries times x over the `width` columns of block b of weights; its codes are
// width / 8 vectors, whose low nibbles hold the first half of the columns.
int32_t TableDot(const Output& o, size_t b, size_t width) {
  const int8_t* x = o.X(b * width);
  int32_t sum = 0;
  for (size_t i = 0; i < width / 2; ++i) {
    const uint8_t byte = o.Byte(b * width / 8 + i / 4, i % 4);
    sum += o.Entry(byte) * x[i] + o.Entry(byte >> 4) * x[width / 2 + i];
  }
  return sum;
}

// int3 and int6: the same for block b of 16 columns, whose codes are 3 vectors (quant/layout.h).
int32_t Int3Dot(const Output& o, size_t b, size_t) {
  const int8_t* x = o.X(16 * b);
  int32_t sum = 0;
  for (size_t c = 0; c < 4; ++c) {
    size_t fourth = 0;
    for (size_t j = 0; j < 3; ++j) {
      const size_t nibble = o.Byte(b / 2 * 3 + j, c) >> (b % 2 * 4) & 15u;
      const size_t below = (size_t{8} >> j) - 1;  // the bits under the fourth code's
      sum += o.w.Table()[(nibble & below) | (nibble >> 1 & ~below)] * x[4 * j + c];
      fourth = 2 * fourth + (nibble >> (3 - j) & 1);
    }
    sum += o.w.Table()[fourth] * x[12 + c];
  }
  return sum;
}

int32_t Int6Dot(const Output& o, size_t b, size_t) {
  const int8_t* x = o.X(16 * b);
  int32_t sum = 0;
  for (size_t c = 0; c < 4; ++c) {
    int32_t fourth = 0;
    for (size_t j = 0; j < 3; ++j) {
      const uint8_t byte = o.Byte(3 * b + j, c);
      sum += ((byte & 63) - 32) * x[4 * j + c];
      fourth = 4 * fourth + (byte >> 6);
    }
    sum += (fourth - 32) * x[12 + c];
  }
  return sum;
}

// Blocks of `width` columns with integer scales; dot(o, b, width) is the dot of block b.
template <size_t width, int32_t (*dot)(const Output&, size_t, size_t)>
float IntegerScales(const Output& o, float bias) {
  const size_t cols = o.w.layout.padded_cols;
  float acc = 0;
  for (size_t begin = 0; begin < cols; begin += kActivationBlock) {
    int32_t sum = 0;
    for (size_t c = begin; c < cols && c < begin + kActivationBlock; c += width) {
      sum += dot(o, c / width, width) * o.BlockScale<int8_t>(c / width);
    }
    acc = Fma(static_cast<float>(sum), o.XScale(begin), acc);
  }
  return Fma(acc, o.w.RowScales(o.tile)[o.lane], bias);
}

// int8 and int4a: add_block(o, b, s) is s with block b of 32 columns added.
template <class AddBlock>
float FloatScales(const Output& o, float bias, AddBlock add_block) {
  const size_t cols = o.w.layout.padded_cols;
  float acc = 0;
  for (size_t begin = 0; begin < cols; begin += kActivationBlock) {
    float sum = 0;
    for (size_t c = begin; c < cols && c < begin + kActivationBlock; c += kWeightBlock) {
      sum = add_block(o, c / kWeightBlock, sum);
    }
    acc = Fma(sum, o.XScale(begin), acc);
  }
  return acc + bias;
}

float AddInt8Block(const Output& o, size_t b, float sum) {
  const int8_t* x = o.X(b * kWeightBlock);
  int32_t d = 0;
  for (size_t c = 0; c < kWeightBlock; ++c) {
    d += static_cast<int8_t>(o.Byte(8 * b + c / 4, c % 4)) * x[c];
  }
  return Fma(static_cast<float>(d), F16ToF32(o.BlockScale<uint16_t>(b)), sum);
}

float AddInt4aBlock(const Output& o, size_t b, float sum) {
  const uint8_t* offsets = o.w.BlockOffsets(o.tile);
  const size_t at = b * kTileRows + o.lane;
  const int32_t x_sum = o.XSum(b * kWeightBlock);
  int32_t d = TableDot(o, b, kWeightBlock);
  if (o.w.layout.offset == BlockOffset::kZero) {
    d -= reinterpret_cast<const int8_t*>(offsets)[at] * x_sum;
  }
  sum = Fma(static_cast<float>(d), o.BlockScale<float>(b), sum);
  if (o.w.layout.offset == BlockOffset::kMin) {
    const float min = F16ToF32(reinterpret_cast<const uint16_t*>(offsets)[at]);
    sum = Fma(static_cast<float>(x_sum), min, sum);
  }
  return sum;
}

float Int8(const Output& o, float bias) { return FloatScales(o, bias, AddInt8Block); }
float Int4a(const Output& o, float bias) { return FloatScales(o, bias, AddInt4aBlock); }

// Calls one of the above for every row of the tiles and every token.
template <class Dot>
void Matmul(const MatrixView& w, const QuantizedRows& x, size_t m, const float* bias, float* y,
            size_t y_stride, size_t tile_begin, size_t tile_end, Dot dot) {
  const size_t blocks = (w.layout.padded_cols + kActivationBlock - 1) / kActivationBlock;
  for (size_t row = tile_begin * kTileRows; row < tile_end * kTileRows; ++row) {
    if (row >= w.layout.rows) break;
    for (size_t t = 0; t < m; ++t) {
      const size_t first = t - t % kPanelTokens;
      const size_t tokens = m - first < kPanelTokens ? m - first : kPanelTokens;
      const Output output{w,     x, row / kTileRows, row % kTileRows, first * blocks + t - first,
                          tokens};
      y[t * y_stride + row] = dot(output, bias ? bias[row] : 0.0f);
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
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, IntegerScales<32, TableDot>);
}
void MatmulInt4x(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, IntegerScales<16, TableDot>);
}
void MatmulInt3(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, IntegerScales<16, Int3Dot>);
}
void MatmulInt6(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, IntegerScales<16, Int6Dot>);
}
void MatmulInt4a(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                 size_t y_stride, size_t tile_begin, size_t tile_end) {
  Matmul(w, x, m, bias, y, y_stride, tile_begin, tile_end, Int4a);
}

}  // namespace glint::reference
