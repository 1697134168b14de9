#pragma once
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "quant/f16.h"
#include "quant/layout.h"

// What the tests of the number formats share.
namespace glint {

// A generator of our own, in exact arithmetic and square roots, so that the inputs (and so the
// hashes below) are the same everywhere.
struct Random {
  uint64_t state;
  double Uniform() {  // in (0, 1)
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (static_cast<double>(state >> 32) + 0.5) / 4294967296.0;
  }
  // Marsaglia's polar method needs a logarithm; the sum of 48 uniforms is normal closely enough for
  // the hashes and bounds here.
  double Normal() {
    double sum = 0;
    for (int i = 0; i < 48; ++i) sum += Uniform();
    return (sum - 24) / 2;
  }
  double Student5() {
    double squares = 0;
    for (int i = 0; i < 5; ++i) {
      const double n = Normal();
      squares += n * n;
    }
    return Normal() / std::sqrt(squares / 5);
  }
  std::vector<float> Normals(size_t n) {
    std::vector<float> out(n);
    for (float& x : out) x = static_cast<float>(Normal());
    return out;
  }
};

// A tensor in 64-byte aligned memory, filled with a pattern so that a byte nobody wrote shows.
struct Tensor {
  MatrixLayout layout;
  std::vector<uint8_t> storage;
  uint8_t* data;

  explicit Tensor(const MatrixLayout& l) : layout(l), storage(l.bytes + 64, 0xaa) {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    data = storage.data() + (64 - address % 64) % 64;
  }
  Tensor(const Tensor&) = delete;
  MatrixView View() const { return {layout, data}; }
  std::vector<float> Row(uint64_t row) const {
    std::vector<float> out(layout.cols);
    DecodeRow(View(), row, out.data());
    return out;
  }
  bool operator==(const Tensor& other) const {
    return layout.bytes == other.layout.bytes && std::memcmp(data, other.data, layout.bytes) == 0;
  }
};

// The layout; one with 0 rows if there is none.
inline MatrixLayout Layout(DType dtype, uint64_t rows, uint64_t cols,
                           BlockOffset offset = BlockOffset::kNone) {
  MatrixLayout layout;
  (void)ComputeLayout(dtype, offset, rows, cols, &layout);
  return layout;
}

// The value of an element by the words of layout.h, byte by byte, without the library's help.
struct Naive {
  const MatrixLayout& l;
  const uint8_t* data;

  static uint64_t Up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }
  uint16_t U16(uint64_t at) const { return static_cast<uint16_t>(data[at] | data[at + 1] << 8); }
  float F32(uint64_t at) const {
    return std::bit_cast<float>(U16(at) | uint32_t{U16(at + 2)} << 16);
  }
  int S8(uint64_t at) const { return data[at] < 128 ? data[at] : data[at] - 256; }

  float Float(uint64_t row, uint64_t col) const {
    const uint64_t element = (row / 16 * l.cols + col) * 16 + row % 16;
    if (l.dtype == DType::kF32) return F32(4 * element);
    return l.dtype == DType::kF16 ? F16ToF32(U16(2 * element)) : BF16ToF32(U16(2 * element));
  }
  float Int8(uint64_t row, uint64_t col) const {
    const uint64_t tiles = Up(l.rows, 16) / 16, blocks = Up(l.cols, 32) / 32;
    const uint64_t codes = Up(tiles * blocks * 32, 64), tile = row / 16, lane = row % 16;
    const float scale = F16ToF32(U16(2 * ((tile * blocks + col / 32) * 16 + lane)));
    const uint64_t quad = tile * blocks * 8 + col / 4;
    return scale * static_cast<float>(S8(codes + quad * 64 + lane * 4 + col % 4));
  }
  uint8_t Code4(uint64_t codes, uint64_t row, uint64_t col, uint64_t block) const {
    const uint64_t tile_bytes = Up(l.cols, 32) * 8;
    const uint64_t half = block / 2, in_block = col % block, low = in_block % half;
    const uint64_t at = codes + row / 16 * tile_bytes + col / block * (block * 8) + low / 4 * 64 +
                        row % 16 * 4 + low % 4;
    return in_block < half ? data[at] & 15 : data[at] >> 4;
  }
  float Table(uint64_t row, uint64_t col, uint64_t block) const {
    const uint64_t tiles = Up(l.rows, 16) / 16, blocks = Up(l.cols, 32) / block;
    const uint64_t scales = 64 + tiles * 64, codes = Up(scales + tiles * blocks * 16, 64);
    const int scale = S8(scales + (row / 16 * blocks + col / block) * 16 + row % 16);
    const int entry = S8(Code4(codes, row, col, block));
    return static_cast<float>(entry * scale) * F32(64 + 4 * row);
  }
  // int3 and int6: by the bits that docs/FORMAT.md names, one at a time.
  int Bit(uint64_t byte, uint64_t bit) const { return data[byte] >> bit & 1; }
  uint64_t Code3(uint64_t codes, uint64_t row, uint64_t col) const {
    const uint64_t unit = codes + (row / 16 * (Up(l.cols, 32) / 32) + col / 32) * 192;
    const uint64_t lane = unit + row % 16 * 4 + col % 4, vector = col % 16 / 4;
    const uint64_t high = col % 32 / 16 * 4;
    constexpr uint64_t kBits[3][3] = {{0, 1, 2}, {0, 1, 3}, {0, 2, 3}};  // of vectors 0, 1, 2
    int code = 0;
    for (uint64_t bit = 0; bit < 3; ++bit) {
      code += (vector < 3 ? Bit(lane + 64 * vector, high + kBits[vector][bit])
                          : Bit(lane + 64 * (2 - bit), high + bit + 1))
              << bit;
    }
    return static_cast<uint64_t>(code);
  }
  int Code6(uint64_t codes, uint64_t row, uint64_t col) const {
    const uint64_t block = codes + (row / 16 * (Up(l.cols, 32) / 16) + col / 16) * 192;
    const uint64_t lane = block + row % 16 * 4 + col % 4, vector = col % 16 / 4;
    if (vector < 3) return data[lane + 64 * vector] % 64;
    return data[lane] / 64 * 16 + data[lane + 64] / 64 * 4 + data[lane + 128] / 64;
  }
  float Scaled16(uint64_t row, uint64_t col) const {
    const bool is3 = l.dtype == DType::kInt3;
    const uint64_t tiles = Up(l.rows, 16) / 16, blocks = Up(l.cols, 32) / 16;
    const uint64_t row_scales = is3 ? 64 : 0, scales = row_scales + tiles * 64;
    const uint64_t codes = Up(scales + tiles * blocks * 16, 64);
    const int scale = S8(scales + (row / 16 * blocks + col / 16) * 16 + row % 16);
    const int value = is3 ? S8(Code3(codes, row, col)) : Code6(codes, row, col) - 32;
    return static_cast<float>(value * scale) * F32(row_scales + 4 * row);
  }
  float Int4a(uint64_t row, uint64_t col) const {
    const uint64_t tiles = Up(l.rows, 16) / 16, blocks = Up(l.cols, 32) / 32;
    const uint64_t offset_bytes = static_cast<uint64_t>(l.offset);  // 0, 1, 2 by luck
    const uint64_t offsets = 64 + tiles * blocks * 64;
    const uint64_t codes = Up(offsets + tiles * blocks * 16 * offset_bytes, 64);
    const uint64_t entry = (row / 16 * blocks + col / 32) * 16 + row % 16;
    const float scale = F32(64 + 4 * entry);
    const int value = S8(Code4(codes, row, col, 32));
    if (l.offset == BlockOffset::kZero) {
      return scale * static_cast<float>(value - S8(offsets + entry));
    }
    const float product = scale * static_cast<float>(value);
    return offset_bytes == 0 ? product : product + F16ToF32(U16(offsets + 2 * entry));
  }
  float Value(uint64_t row, uint64_t col) const {
    if (l.dtype == DType::kInt8) return Int8(row, col);
    if (l.dtype == DType::kInt4) return Table(row, col, 32);
    if (l.dtype == DType::kInt4x) return Table(row, col, 16);
    if (l.dtype == DType::kInt4a) return Int4a(row, col);
    if (l.dtype == DType::kInt3 || l.dtype == DType::kInt6) return Scaled16(row, col);
    return Float(row, col);
  }
};

struct Shape {
  uint64_t rows, cols;
};
inline constexpr Shape kShapes[] = {{1, 1},    {1, 32},  {3, 5},   {16, 16},
                                    {16, 172}, {17, 33}, {31, 31}, {100, 240}};

inline uint64_t Hash(const uint8_t* data, uint64_t n) {  // FNV-1a
  uint64_t hash = 14695981039346656037u;
  for (uint64_t i = 0; i < n; ++i) hash = (hash ^ data[i]) * 1099511628211u;
  return hash;
}

}  // namespace glint
