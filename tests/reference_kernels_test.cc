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

TEST_CASE("norms and elementwise kernels") {
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
    Reference().rms_norm(x.data(), weight.data(), y.data(), n, 1e-5f);
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) {
      CHECK(y[i] == doctest::Approx(x[i] / std::sqrt(squares + 1e-5) * weight[i]).epsilon(1e-5));
    }
    Reference().add_scaled(x.data(), bias.data(), 1.75f, y.data(), n);
    for (size_t i = 0; i < n; ++i) CHECK(y[i] == doctest::Approx(1.75 * x[i] + bias[i]));
    Reference().multiply(x.data(), bias.data(), y.data(), n);
    for (size_t i = 0; i < n; ++i) CHECK(y[i] == x[i] * bias[i]);
    Reference().silu(x.data(), y.data(), n);
    for (size_t i = 0; i < n; ++i) {
      CHECK(y[i] == doctest::Approx(x[i] / (1 + std::exp(-double{x[i]}))).epsilon(1e-5));
    }
    Reference().gelu_tanh(x.data(), y.data(), n);
    for (size_t i = 0; i < n; ++i) {
      const double v = x[i], u = std::sqrt(2 / 3.14159265358979) * (v + 0.044715 * v * v * v);
      CHECK(y[i] == doctest::Approx(0.5 * v * (1 + std::tanh(u))).epsilon(1e-5));
    }
  }
}

TEST_CASE("scale and softcap") {
  const float x[] = {-1e30f, -40.0f, -3.0f, -0.0f, 1e-3f, 5.0f, 29.0f, 1e30f};
  float y[8];
  Reference().scale(x, 59.5f, y, 8);
  for (int i = 0; i < 8; ++i) CHECK(y[i] == 59.5f * x[i]);
  Reference().softcap(x, 30.0f, y, 8);
  for (int i = 0; i < 8; ++i) {
    CHECK(y[i] == doctest::Approx(30 * std::tanh(double{x[i]} / 30)).epsilon(1e-6));
  }
  CHECK(y[0] == -30);
  CHECK(std::signbit(y[3]));
  CHECK(y[7] == 30);
}

TEST_CASE("gelu_tanh and silu of large numbers") {
  const float x[] = {-1e30f, -100.0f, -11.0f, 11.0f, 100.0f, 1e30f};
  float y[6];
  Reference().gelu_tanh(x, y, 6);
  CHECK(y[0] == 0);
  CHECK(y[1] == 0);
  CHECK(std::fabs(y[2]) < 1e-25);
  for (int i = 3; i < 6; ++i) CHECK(y[i] == x[i]);
  Reference().silu(x, y, 6);
  CHECK(y[0] == 0);
  CHECK(std::fabs(y[1]) < 1e-40);
  CHECK(y[2] == doctest::Approx(-11 / (1 + std::exp(11.0))));
  CHECK(y[3] == doctest::Approx(11 / (1 + std::exp(-11.0))));
  for (int i = 4; i < 6; ++i) CHECK(y[i] == x[i]);
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

TEST_CASE("rope_interleaved turns neighbours as rope_neox turns halves") {
  constexpr size_t half = 5, heads = 2;
  const auto x = Floats(Fill::kRandom, 20, heads * 2 * half);
  const auto c = Floats(Fill::kRandom, 21, half), s = Floats(Fill::kRandom, 22, half);
  std::vector<float> halves(x.size()), pairs(x.begin(), x.end());
  const auto place = [](size_t i) {
    return i / (2 * half) * 2 * half + i / 2 % half + i % 2 * half;
  };
  for (size_t i = 0; i < x.size(); ++i) halves[place(i)] = x[i];
  Reference().rope_neox(halves.data(), 2 * half, heads, half, c.data(), s.data());
  Reference().rope_interleaved(pairs.data(), 2 * half, heads, half, c.data(), s.data());
  for (size_t i = 0; i < x.size(); ++i) CHECK(pairs[i] == halves[place(i)]);
}

namespace {

// A cache of 300 positions of one head, and what a double sees in it.
struct DoubleAttention {
  static constexpr size_t kDim = 22, kKeys = 300, kCapacity = 304, kStride = 33, kQueries = 4;
  std::vector<float> rows, q;
  std::vector<uint8_t> keys, values;
  std::vector<float> key_scales, value_scales;
  std::vector<double> q_seen, rows_seen;  // as the cache's type rounds them
  const int32_t visible[kQueries][2] = {{0, 300}, {10, 70}, {255, 257}, {256, 300}};

  explicit DoubleAttention(KvType type)
      : rows(Floats(Fill::kRandom, 9, 2 * kKeys * kDim)),
        q(Floats(Fill::kRandom, 10, kQueries * kDim)),
        keys(kCapacity * (kDim + 2) * 4),
        values(kCapacity * kStride * 4),
        key_scales(kCapacity),
        value_scales(kCapacity),
        q_seen(q.begin(), q.end()),
        rows_seen(rows.begin(), rows.end()) {
    for (size_t i = 0; i < kKeys; ++i) {
      Reference().kv_store[static_cast<size_t>(type)](&rows[2 * i * kDim], &rows[(2 * i + 1) * kDim],
                                                      kDim, Block(type, i / kKeyBlock * kKeyBlock),
                                                      i % kKeyBlock);
    }
    for (double& v : rows_seen) {
      if (type == KvType::kF16) v = F16ToF32(F32ToF16(static_cast<float>(v)));
    }
    if (type != KvType::kInt8) return;
    for (size_t i = 0; i < 2 * kKeys; ++i) Round(&rows_seen[i * kDim]);
    for (size_t i = 0; i < kQueries; ++i) Round(&q_seen[i * kDim]);
  }
  KvBlock Block(KvType type, size_t begin) {
    const size_t element = type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1;
    const size_t key_dim = type == KvType::kInt8 ? (kDim + 3) / 4 * 4 : kDim;
    return {keys.data() + begin * key_dim * element, values.data() + begin * kStride * element,
            kStride, key_scales.data() + begin, value_scales.data() + begin};
  }
  // To 255 equal steps between -max and max.
  static void Round(double* v) {
    double largest = 0;
    for (size_t d = 0; d < kDim; ++d) largest = std::max(largest, std::fabs(v[d]));
    for (size_t d = 0; d < kDim; ++d) v[d] = std::rint(v[d] / largest * 127) * largest / 127;
  }
  // softmax(q k^T / sqrt(kDim)) v of query i; the scores are capped if cap is not 0.
  std::vector<double> Want(size_t i, double cap) const {
    std::vector<double> want(kDim, 0.0);
    double total = 0;
    for (int32_t j = visible[i][0]; j < visible[i][1]; ++j) {
      const double* key = &rows_seen[2 * static_cast<size_t>(j) * kDim];
      double dot = 0;
      for (size_t c = 0; c < kDim; ++c) dot += q_seen[i * kDim + c] * key[c];
      double score = dot / std::sqrt(static_cast<double>(kDim));
      if (cap != 0) score = cap * std::tanh(score / cap);
      const double p = std::exp(score);
      total += p;
      for (size_t c = 0; c < kDim; ++c) want[c] += p * key[kDim + c];
    }
    for (double& v : want) v /= total;
    return want;
  }
};

}  // namespace

TEST_CASE("attention equals softmax(q k^T / sqrt(d)) v, in one state and in states of one block") {
  constexpr size_t kDim = DoubleAttention::kDim, kQueries = DoubleAttention::kQueries;
  for (int run = 0; run < 6; ++run) {
    const KvType type = static_cast<KvType>(run % 3);
    const float softcap = run < 3 ? 0.0f : 1.25f;
    CAPTURE(run);
    DoubleAttention test(type);
    AttentionQuery queries[kQueries];
    for (size_t i = 0; i < kQueries; ++i) {
      queries[i] = {&test.q[i * kDim], test.visible[i][0], test.visible[i][1]};
    }
    constexpr size_t kBlocks = 2;
    // Row 0 and 1: a state of each block; row 2: one of both.
    std::vector<float> maximum(3 * kQueries, -std::numeric_limits<float>::infinity());
    std::vector<float> sum(3 * kQueries, -0.0f), out(3 * kQueries * kDim, -0.0f);
    std::vector<float> scratch(AttentionScratch(kQueries, kDim));
    for (size_t b = 0; b < kBlocks; ++b) {
      for (const size_t row : {b, size_t{2}}) {
        Reference().attention_block[static_cast<size_t>(type)](
            {queries, kQueries, kDim, test.Block(type, b * kKeyBlock), b * kKeyBlock,
             static_cast<float>(1 / std::sqrt(static_cast<double>(kDim))), &maximum[row * kQueries],
             &sum[row * kQueries], &out[row * kQueries * kDim], kDim, scratch.data(), softcap});
      }
    }
    for (size_t i = 0; i < kQueries; ++i) {
      const std::vector<double> want = test.Want(i, softcap);
      std::vector<float> split(kDim), whole(kDim);
      const auto combine = [&](size_t row, size_t n, float* result) {
        Reference().attention_combine(&maximum[row * kQueries + i], &sum[row * kQueries + i],
                                      kQueries, &out[(row * kQueries + i) * kDim], kQueries * kDim,
                                      n, kDim, result);
      };
      combine(0, kBlocks, split.data());
      combine(2, 1, whole.data());
      for (size_t c = 0; c < kDim; ++c) {
        CAPTURE(i);
        // int8 rounds weights to 1 / 32767 of a block's greatest.
        CHECK(std::fabs(whole[c] - want[c]) < (type == KvType::kInt8 ? 5e-5 : 3e-6));
      }
      CHECK(std::memcmp(split.data(), whole.data(), kDim * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("an int8 key or value that is not finite reaches the output") {
  constexpr size_t kDim = 8;
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const bool in_key : {true, false}) {
      std::vector<int8_t> keys(16 * kDim), values(16 * kDim);
      std::vector<float> key_scales(16), value_scales(16), row(kDim, 1.0f), bad_row(kDim, 1.0f);
      bad_row[3] = bad;
      const KvBlock head = {keys.data(), values.data(), kDim, key_scales.data(),
                           value_scales.data()};
      const auto store = Reference().kv_store[static_cast<size_t>(KvType::kInt8)];
      store(row.data(), row.data(), kDim, head, 0);
      store(in_key ? bad_row.data() : row.data(), in_key ? row.data() : bad_row.data(), kDim, head,
            1);
      const AttentionQuery query = {row.data(), 0, 2};
      float maximum = -std::numeric_limits<float>::infinity(), sum = -0.0f;
      std::vector<float> out(kDim, -0.0f), result(kDim), scratch(AttentionScratch(1, kDim));
      Reference().attention_block[static_cast<size_t>(KvType::kInt8)](
          {&query, 1, kDim, head, 0, 1.0f, &maximum, &sum, out.data(), kDim, scratch.data()});
      Reference().attention_combine(&maximum, &sum, 1, out.data(), kDim, 1, kDim, result.data());
      CHECK(std::isnan(result[0]));
    }
  }
}

TEST_CASE("attention_combine of nothing is zero") {
  const float maximum[2] = {-std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()};
  const float sum[2] = {-0.0f, -0.0f}, partial[2] = {-0.0f, -0.0f};
  float out = 5;
  Reference().attention_combine(maximum, sum, 1, partial, 1, 2, 1, &out);
  CHECK(out == 0);
}
