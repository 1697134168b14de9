#pragma once
// The cases that tests/check_kernels.cc checks and bench/bench_kernels.cc times, and their data.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "quant/f16.h"
#include "quant/layout.h"
#include "simd/cpu.h"
#include "simd/kernels.h"
#include "tests/guarded_pages.h"

namespace glint {

// An array that ends where a page without access begins, so that a read or write beyond it faults
// in every build. Its start is aligned as far as its size is (whole matrices: 64 bytes).
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n, T value = T{}) : n_(n) {
    const size_t page = PageBytes();
    bytes_ = (n * sizeof(T) + page - 1) / page * page;
    map_ = MapGuarded(bytes_);
    data_ = reinterpret_cast<T*>(map_ + bytes_ - n * sizeof(T));
    for (size_t i = 0; i < n; ++i) data_[i] = value;
  }
  Guarded(Guarded&& other) noexcept
      : n_(other.n_), bytes_(other.bytes_), map_(other.map_), data_(other.data_) {
    other.map_ = nullptr;
  }
  Guarded& operator=(Guarded&& other) noexcept {
    std::swap(n_, other.n_);
    std::swap(bytes_, other.bytes_);
    std::swap(map_, other.map_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Guarded() {
    if (map_) UnmapGuarded(map_, bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return n_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + n_; }

 private:
  size_t n_, bytes_;
  char* map_;
  T* data_;
};

// What numbers a case is made of.
enum class Fill { kRandom, kMax, kMin, kZero, kDenormal, kMixed, kNonFinite };
inline constexpr Fill kFills[] = {Fill::kRandom,   Fill::kMax,   Fill::kMin,      Fill::kZero,
                                  Fill::kDenormal, Fill::kMixed, Fill::kNonFinite};

inline void FillFloats(Fill fill, std::mt19937& rng, float* out, size_t n) {
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> exponent(-140, 120);
  for (size_t i = 0; i < n; ++i) {
    const float random = normal(rng);
    switch (fill) {
      case Fill::kRandom:
        out[i] = random;
        break;
      case Fill::kMax:
        out[i] = 3.0f;
        break;
      case Fill::kMin:
        out[i] = -3.0f;
        break;
      case Fill::kZero:
        out[i] = i % 2 ? 0.0f : -0.0f;
        break;
      case Fill::kDenormal:
        out[i] = random * 1e-39f;
        break;
      case Fill::kMixed:
        out[i] = std::ldexp(random, exponent(rng));
        break;
      case Fill::kNonFinite: {
        const float bad[] = {std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()};
        out[i] = i % 41 == 5 ? bad[i % 3] : random;
        break;
      }
    }
  }
}

// Sizes around every vector width and its tails, then one real size.
inline constexpr size_t kSizes[] = {1,  3,  8,  15, 16, 17,  31,  32,
                                    33, 63, 64, 65, 97, 100, 240, 4096};

struct MatmulCase {
  size_t rows, cols, m;
  Fill fill;
  bool bias;
};

// Each row varies one thing; the first varies all that the register tiles and panels depend on.
inline std::vector<MatmulCase> MatmulCases() {
  std::vector<MatmulCase> cases;
  for (size_t m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 33}) {
    cases.push_back({33, 172, m, Fill::kRandom, m % 2 == 1});
  }
  // Many tokens: more than share an unpacking, and columns of several slabs, the last one odd.
  cases.push_back({50, 1100, 131, Fill::kRandom, true});
  cases.push_back({33, 2080, 9, Fill::kMixed, false});
  for (size_t rows : {1, 8, 15, 16, 17, 33, 100}) {
    cases.push_back({rows, 64, 1, Fill::kRandom, true});
    cases.push_back({rows, 64, 7, Fill::kRandom, true});
    cases.push_back({rows, 64, 13, Fill::kRandom, true});
  }
  for (size_t cols : {1, 31, 32, 64, 172, 240, 4096}) {
    cases.push_back({17, cols, 3, Fill::kRandom, false});
  }
  for (Fill fill : kFills) {
    cases.push_back({40, 172, 7, fill, true});
    cases.push_back({40, 172, 14, fill, true});
    cases.push_back({100, 172, 1, fill, true});
  }
  return cases;
}

// What bench times: ChatGLM-6B's query_key_value and dense_4h_to_h with several numbers of tokens,
// and few tokens against a matrix that no cache holds (ChatGLM2's vocabulary), for the read
// bandwidth.
struct BenchShape {
  size_t rows, cols, min_tokens, max_tokens;
};
inline constexpr BenchShape kBenchShapes[] = {
    {65024, 4096, 1, 8}, {12288, 4096, 8, 384}, {4096, 16384, 96, 384}};
inline constexpr size_t kBenchTokens[] = {1, 4, 8, 96, 384};

struct WeightKind {
  DType dtype;
  BlockOffset offset;
  const char* name;
};
inline constexpr WeightKind kQuantizedKinds[] = {
    {DType::kInt8, BlockOffset::kNone, "int8"},
    {DType::kInt4, BlockOffset::kNone, "int4"},
    {DType::kInt4x, BlockOffset::kNone, "int4x"},
    {DType::kInt4a, BlockOffset::kNone, "int4a"},
    {DType::kInt4a, BlockOffset::kZero, "int4a-zero"},
    {DType::kInt4a, BlockOffset::kMin, "int4a-min"},
    {DType::kInt3, BlockOffset::kNone, "int3"},
    {DType::kInt6, BlockOffset::kNone, "int6"},
};
inline constexpr WeightKind kFloatKinds[] = {
    {DType::kF32, BlockOffset::kNone, "f32"},
    {DType::kF16, BlockOffset::kNone, "f16"},
    {DType::kBF16, BlockOffset::kNone, "bf16"},
};

using QuantizedMatmul = void (*)(const MatrixView&, QuantizedRows, size_t, const float*, float*,
                                 size_t, size_t, size_t);
using FloatMatmul = void (*)(const MatrixView&, const float*, size_t, size_t, const float*, float*,
                             size_t, size_t, size_t);
inline QuantizedMatmul QuantizedMatmulOf(const KernelTable& k, DType dtype) {
  return dtype == DType::kInt8    ? k.matmul_int8
         : dtype == DType::kInt4  ? k.matmul_int4
         : dtype == DType::kInt4x ? k.matmul_int4x
         : dtype == DType::kInt3  ? k.matmul_int3
         : dtype == DType::kInt6  ? k.matmul_int6
                                  : k.matmul_int4a;
}
inline FloatMatmul FloatMatmulOf(const KernelTable& k, DType dtype) {
  return dtype == DType::kF32 ? k.matmul_f32 : dtype == DType::kF16 ? k.matmul_f16 : k.matmul_bf16;
}

// A matrix of random bytes where any bytes are codes, and of sensible numbers where floats stand.
struct TestMatrix {
  MatrixLayout layout;
  Guarded<uint8_t> bytes;
  MatrixView view;

  static MatrixLayout Layout(const WeightKind& kind, size_t rows, size_t cols) {
    MatrixLayout layout;
    if (!ComputeLayout(kind.dtype, kind.offset, rows, cols, &layout)) std::abort();
    return layout;
  }
  TestMatrix(const WeightKind& kind, size_t rows, size_t cols, Fill fill, uint32_t seed)
      : layout(Layout(kind, rows, cols)), bytes(layout.bytes), view{layout, bytes.data()} {
    std::mt19937 rng(seed);
    FillCodes(fill, rng);
    if (Info(kind.dtype).has_table) FillTable(fill, rng);
    if (Info(kind.dtype).has_row_scales) {
      FillFloats(fill, rng, reinterpret_cast<float*>(bytes.data() + layout.row_scales),
                 layout.row_tiles * kTileRows);
    }
    const size_t scales = layout.row_tiles * layout.blocks * kTileRows;
    if (kind.dtype == DType::kInt8) FillHalves(fill, rng, layout.block_scales, scales);
    if (kind.dtype == DType::kInt4a) {
      FillFloats(fill, rng, reinterpret_cast<float*>(bytes.data() + layout.block_scales), scales);
    }
    if (Info(kind.dtype).block_scale_bytes == 1) {
      FillBytes(fill, rng, layout.block_scales, scales);
    }
    if (kind.offset == BlockOffset::kZero) FillBytes(fill, rng, layout.block_offsets, scales);
    if (kind.offset == BlockOffset::kMin) FillHalves(fill, rng, layout.block_offsets, scales);
  }

 private:
  void FillBytes(Fill fill, std::mt19937& rng, size_t at, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      bytes[at + i] = fill == Fill::kMax    ? uint8_t{0x7f}
                      : fill == Fill::kMin  ? uint8_t{0x80}
                      : fill == Fill::kZero ? uint8_t{0}
                                            : static_cast<uint8_t>(rng());
    }
  }
  void FillHalves(Fill fill, std::mt19937& rng, size_t at, size_t n) {
    std::vector<float> values(n);
    FillFloats(fill, rng, values.data(), n);
    for (size_t i = 0; i < n; ++i) {
      uint16_t half = F32ToF16(fill == Fill::kDenormal ? values[i] * 1e33f : values[i]);
      if ((half & 0x7c00) == 0x7c00 && fill != Fill::kNonFinite) half = 0x7bff;  // mixed: no inf
      std::memcpy(bytes.data() + at + 2 * i, &half, 2);
    }
  }
  void FillCodes(Fill fill, std::mt19937& rng) {
    const size_t n = layout.row_tiles * layout.codes_tile;
    if (layout.dtype == DType::kF32) {
      FillFloats(fill, rng, reinterpret_cast<float*>(bytes.data() + layout.codes), n / 4);
    } else if (layout.dtype == DType::kF16) {
      FillHalves(fill, rng, layout.codes, n / 2);
    } else if (layout.dtype == DType::kBF16) {
      std::vector<float> values(n / 2);
      FillFloats(fill, rng, values.data(), n / 2);
      for (size_t i = 0; i < n / 2; ++i) {
        const uint16_t code = F32ToBF16(values[i]);
        std::memcpy(bytes.data() + layout.codes + 2 * i, &code, 2);
      }
    } else {
      FillBytes(fill, rng, layout.codes, n);
    }
  }
  // int4a holds any signed byte, the others at most +-64; each has its extremes. (int3 has only 8
  // entries; the bytes after them do not count.)
  void FillTable(Fill fill, std::mt19937& rng) {
    const int limit = layout.dtype == DType::kInt4a ? 128 : 64;
    for (int i = 0; i < 16; ++i) {
      int entry = static_cast<int>(rng() % static_cast<unsigned>(2 * limit)) - limit;
      if (fill == Fill::kMax || i == 3) entry = limit - 1;
      if (fill == Fill::kMin || i == 9 || i == 6) entry = -limit;
      bytes[layout.table + static_cast<size_t>(i)] = static_cast<uint8_t>(entry);
    }
  }
};

// Quantized activations of m tokens, as one table made them.
struct TestActivations {
  size_t blocks;
  Guarded<int8_t> codes;
  Guarded<float> scales;
  Guarded<int16_t> sums;

  TestActivations(const KernelTable& k, bool biased, const float* x, size_t x_stride, size_t m,
                  size_t cols)
      : blocks((cols + kActivationBlock - 1) / kActivationBlock),
        codes(m * blocks * kActivationBlock, 99),
        scales(m * blocks, 99.0f),
        sums(m * blocks * kBlockSums, 99) {
    const size_t panels = (m + kPanelTokens - 1) / kPanelTokens;
    k.quantize_rows(x, x_stride, m, cols, biased, Rows(), 0, panels / 2);
    k.quantize_rows(x, x_stride, m, cols, biased, Rows(), panels / 2, panels);
  }
  QuantizedRows Rows() { return {codes.data(), scales.data(), sums.data()}; }
};

struct AttentionCase {
  size_t head_dim, n_queries, key_begin, capacity;
};
inline constexpr AttentionCase kAttentionCases[] = {
    {16, 1, 0, 64},    {32, 5, 0, 64},      {64, 9, 256, 320}, {96, 4, 0, 48},
    {128, 7, 256, 272}, {128, 1, 0, 256},   {20, 6, 0, 16},    {1, 3, 256, 320},
    {100, 12, 0, 144}, {256, 2, 256, 304},  {1, 13, 0, 64},    {20, 31, 256, 416},
    {128, 19, 0, 192}, {72, kMaxQueries, 0, 256}};

// Tables that this CPU can run; the reference is the last. The test's own EVEX form of avxvnni too.
#if defined(GLINT_AVXVNNI_EVEX)
namespace avxvnni_evex {
extern const KernelTable kTable;
}
#endif
inline std::vector<const KernelTable*> RunnableTables() {
  const uint32_t have = CpuFeatures();
  std::vector<const KernelTable*> tables;
#if defined(GLINT_AVXVNNI_EVEX)
  if ((avxvnni_evex::kTable.requires_ & ~have) == 0) tables.push_back(&avxvnni_evex::kTable);
#endif
  for (const KernelTable* const* t = kKernelTables; *t; ++t) {
    if (((*t)->requires_ & ~have) == 0) tables.push_back(*t);
  }
  return tables;
}

}  // namespace glint
