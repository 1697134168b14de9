// The f32 matmul of every target against OpenBLAS, which sums in an order of its own.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cblas.h>
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "quant/encode.h"
#include "simd/cpu.h"
#include "simd/kernels.h"

using namespace glint;

TEST_CASE("matmul_f32 agrees with cblas_sgemm") {
  constexpr size_t kTokens = 13, kRows = 100, kCols = 333;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * kCols), weights(kRows * kCols), bias(kRows);
  for (float& v : x) v = normal(random);
  for (float& v : weights) v = normal(random);
  for (float& v : bias) v = normal(random);

  std::vector<float> want(kTokens * kRows);
  for (size_t t = 0; t < kTokens; ++t) std::copy(bias.begin(), bias.end(), want.begin() + t * kRows);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, kTokens, kRows, kCols, 1.0f, x.data(), kCols,
              weights.data(), kCols, 1.0f, want.data(), kRows);

  MatrixView matrix;
  REQUIRE(ComputeLayout(DType::kF32, BlockOffset::kNone, kRows, kCols, &matrix.layout));
  std::vector<uint8_t> bytes(matrix.layout.bytes + 64);
  uint8_t* aligned = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
  REQUIRE(EncodeTiles(matrix.layout, {}, weights.data(), kRows, PlanesAt(matrix.layout, aligned, 0)) ==
          kEncoded);
  matrix.data = aligned;
  for (const KernelTable* const* table = kKernelTables; *table; ++table) {
    if (((*table)->requires_ & ~CpuFeatures()) != 0) continue;
    const std::string isa = (*table)->isa;
    CAPTURE(isa);
    std::vector<float> got(kTokens * kRows);
    (*table)->matmul_f32(matrix, x.data(), kCols, kTokens, bias.data(), got.data(), kRows, 0,
                         matrix.layout.row_tiles);
    float worst = 0;
    for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - want[i]));
    // Sums of 333 products of size 1 reach about 60; their rounding errors add up to some 1e-5.
    CHECK(worst < 1e-4f);
  }
}
