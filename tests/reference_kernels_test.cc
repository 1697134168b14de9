// The reference kernels against formulas written anew in double precision: a wrong definition is
// caught here, a wrong target in check_kernels.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernel_cases.h"

using namespace glint;

namespace {

const KernelTable& Reference() {
  return *RunnableTables().back();
}

std::vector<float> Floats(Fill fill, uint32_t seed, size_t n) {
  std::mt19937 rng(seed);
  std::vector<float> values(n);
  FillFloats(fill, rng, values.data(), n);
  return values;
}

// y = w x^T + bias in double, and the sum of magnitudes that bounds its rounding.
void CheckProduct(const MatrixView& w, const std::vector<double>& x, size_t m, const float* bias,
                  const float* y) {
  const size_t rows = w.layout.rows, cols = w.layout.cols;
  std::vector<float> row(cols);
  for (size_t r = 0; r < rows; ++r) {
    DecodeRow(w, r, row.data());
    for (size_t t = 0; t < m; ++t) {
      double want = bias[r], magnitude = std::fabs(want);
      for (size_t c = 0; c < cols; ++c) {
        want += row[c] * x[t * cols + c];
        magnitude += std::fabs(row[c] * x[t * cols + c]);
      }
      CAPTURE(r);
      CAPTURE(t);
      CHECK(std::fabs(y[t * rows + r] - want) <= 2e-6 * magnitude + 1e-30);
    }
  }
}

}  // namespace

TEST_CASE("quantize_rows: codes times scale are within half a step") {
  const size_t m = 8, cols = 172, blocks = 3;
  for (const Fill fill : {Fill::kRandom, Fill::kMax, Fill::kMin, Fill::kZero, Fill::kMixed}) {
    const auto x = Floats(fill, 1, m * cols);
    TestActivations a(Reference(), false, x.data(), cols, m, cols);
    for (size_t t = 0; t < m; ++t) {
      const size_t panel = t / 4, tokens = 4;
      for (size_t b = 0; b < blocks; ++b) {
        const size_t at = panel * 4 * blocks + b * tokens + t % 4;
        double largest = 0;
        int32_t sums[4] = {};
        for (size_t c = 0; c < 64; ++c) {
          const size_t col = b * 64 + c;
          const double value = col < cols ? x[t * cols + col] : 0;
          const int code = a.codes[at * 64 + c];
          sums[c / 16] += code;
          largest = std::max(largest, std::fabs(value));
          CHECK(std::abs(code) <= 127);
          const double step = a.scales[at];
          CHECK(std::fabs(code * step - value) <= 0.5001 * step + 4e-37);
        }
        CHECK(a.scales[at] == doctest::Approx(largest / 127).epsilon(1e-6));
        for (size_t i = 0; i < 4; ++i) CHECK(a.sums[4 * at + i] == sums[i]);
      }
    }
  }
}

TEST_CASE("quantize_rows: a block that is not finite becomes nan, others stay") {
  std::vector<float> x(128, 1.0f);
  x[80] = std::numeric_limits<float>::infinity();
  TestActivations a(Reference(), false, x.data(), 128, 1, 128);
  CHECK(a.scales[0] == 1.0f / 127.0f);
  CHECK(std::isnan(a.scales[1]));
  CHECK(a.codes[0] == 127);
  CHECK(a.codes[80] == 0);
}

TEST_CASE("matmul of every type equals the decoded matrix times the decoded activations") {
  const size_t rows = 19, cols = 172, m = 8, blocks = 3;
  const auto x = Floats(Fill::kRandom, 2, m * cols);
  const auto bias = Floats(Fill::kRandom, 3, rows);
  std::vector<float> y(m * rows);
  TestActivations a(Reference(), false, x.data(), cols, m, cols);
  std::vector<double> decoded(m * cols);
  for (size_t t = 0; t < m; ++t) {
    for (size_t c = 0; c < cols; ++c) {
      const size_t panel = t / 4, tokens = 4;
      const size_t at = panel * 4 * blocks + c / 64 * tokens + t % 4;
      decoded[t * cols + c] = double{a.scales[at]} * a.codes[at * 64 + c % 64];
    }
  }
  for (const WeightKind& kind : kQuantizedKinds) {
    CAPTURE(std::string(kind.name));
    TestMatrix w(kind, rows, cols, Fill::kRandom, 4);
    QuantizedMatmulOf(Reference(), kind.dtype)(w.view, a.Rows(), m, bias.data(), y.data(), rows, 0,
                                               2);
    CheckProduct(w.view, decoded, m, bias.data(), y.data());
  }
  const std::vector<double> exact(x.begin(), x.end());
  for (const WeightKind& kind : kFloatKinds) {
    CAPTURE(std::string(kind.name));
    const TestMatrix w(kind, rows, cols, Fill::kRandom, 5);
    FloatMatmulOf(Reference(), kind.dtype)(w.view, x.data(), cols, m, bias.data(), y.data(), rows,
                                           0, 2);
    CheckProduct(w.view, exact, m, bias.data(), y.data());
  }
}

TEST_CASE("layer_norm, add_scaled, gelu_tanh") {
  for (const size_t n : kSizes) {
    const auto x = Floats(Fill::kRandom, 6, n), weight = Floats(Fill::kRandom, 7, n);
    const auto bias = Floats(Fill::kRandom, 8, n);
    std::vector<float> y(n);
    Reference().layer_norm(x.data(), weight.data(), bias.data(), y.data(), n, 1e-5f);
    double mean = 0, variance = 0;
    for (const float v : x) mean += v / static_cast<double>(n);
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      const double want = (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      CHECK(y[i] == doctest::Approx(want).epsilon(1e-5));
    }
    Reference().add_scaled(x.data(), bias.data(), 1.75f, y.data(), n);
    for (size_t i = 0; i < n; ++i) CHECK(y[i] == doctest::Approx(1.75 * x[i] + bias[i]));
    Reference().gelu_tanh(x.data(), y.data(), n);
    for (size_t i = 0; i < n; ++i) {
      const double v = x[i], u = std::sqrt(2 / 3.14159265358979) * (v + 0.044715 * v * v * v);
      CHECK(y[i] == doctest::Approx(0.5 * v * (1 + std::tanh(u))).epsilon(1e-5));
    }
  }
}

TEST_CASE("gelu_tanh of large numbers") {
  const float x[] = {-1e30f, -100.0f, -11.0f, 11.0f, 100.0f, 1e30f};
  float y[6];
  Reference().gelu_tanh(x, y, 6);
  CHECK(y[0] == 0);
  CHECK(y[1] == 0);
  CHECK(std::fabs(y[2]) < 1e-25);
  for (int i = 3; i < 6; ++i) CHECK(y[i] == x[i]);
}

TEST_CASE("rope_neox turns pairs by an angle") {
  const size_t half = 5;
  float x[2 * half], c[half], s[half];
  for (size_t i = 0; i < half; ++i) {
    x[i] = static_cast<float>(i) + 1;
    x[i + half] = 10 - static_cast<float>(i);
    c[i] = static_cast<float>(std::cos(0.3 * static_cast<double>(i)));
    s[i] = static_cast<float>(std::sin(0.3 * static_cast<double>(i)));
  }
  Reference().rope_neox(x, 2 * half, 1, half, c, s);
  for (size_t i = 0; i < half; ++i) {
    const double angle = 0.3 * static_cast<double>(i), a = static_cast<double>(i) + 1;
    const double b = 10 - static_cast<double>(i);
    CHECK(x[i] == doctest::Approx(a * std::cos(angle) - b * std::sin(angle)));
    CHECK(x[i + half] == doctest::Approx(b * std::cos(angle) + a * std::sin(angle)));
  }
}

TEST_CASE("attention by blocks equals softmax(q k^T / sqrt(d)) v") {
  const size_t d = 20, keys = 150, capacity = 160, queries = 3, stride = 33;
  const auto rows = Floats(Fill::kRandom, 9, 2 * keys * d),
             q = Floats(Fill::kRandom, 10, queries * d);
  const int32_t visible[2 * queries] = {0, 150, 10, 70, 64, 65};
  std::vector<float> k_cache(capacity * d), v_cache(capacity * stride);
  const KvHead head = {k_cache.data(), v_cache.data(), stride};
  for (size_t i = 0; i < keys; ++i) {
    Reference().kv_store[0](rows.data() + 2 * i * d, rows.data() + (2 * i + 1) * d, d, head, i);
  }
  const size_t blocks = 3;
  std::vector<float> maximum(blocks * queries), sum(blocks * queries), out(blocks * queries * d);
  for (size_t b = 0; b < blocks; ++b) {
    Reference().attention_block[0]({q.data(), d, queries, d, head, b * kKeyBlock, visible,
                                    static_cast<float>(1 / std::sqrt(20.0)), &maximum[b * queries],
                                    &sum[b * queries], &out[b * queries * d], d});
  }
  for (size_t i = 0; i < queries; ++i) {
    std::vector<double> want(d, 0.0);
    double total = 0;
    for (size_t j = static_cast<size_t>(visible[2 * i]);
         j < static_cast<size_t>(visible[2 * i + 1]); ++j) {
      double dot = 0;
      for (size_t c = 0; c < d; ++c) dot += double{q[i * d + c]} * rows[2 * j * d + c];
      const double p = std::exp(dot / std::sqrt(20.0));
      total += p;
      for (size_t c = 0; c < d; ++c) want[c] += p * rows[(2 * j + 1) * d + c];
    }
    std::vector<float> got(d);
    Reference().attention_combine(&maximum[i], &sum[i], queries, &out[i * d], queries * d, blocks,
                                  d, got.data());
    for (size_t c = 0; c < d; ++c) {
      CHECK(std::fabs(got[c] - want[c] / total) < 2e-6);
    }
  }
}

TEST_CASE("attention_combine of nothing is zero") {
  const float maximum[2] = {-std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
  const float sum[2] = {0, 0}, partial[2] = {1, 1};
  float out = 5;
  Reference().attention_combine(maximum, sum, 1, partial, 1, 2, 1, &out);
  CHECK(out == 0);
}
