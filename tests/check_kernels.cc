// Every table that this CPU can run, bit by bit against the reference table.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "tests/kernel_cases.h"

using namespace glint;

namespace {

// A NaN's payload is not promised; everything else is.
bool Same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(a)) == 0;
}
bool Same(int8_t a, int8_t b) {
  return a == b;
}
bool Same(int16_t a, int16_t b) {
  return a == b;
}
bool Same(uint16_t a, uint16_t b) {
  return a == b || (std::isnan(F16ToF32(a)) && std::isnan(F16ToF32(b)));
}

// Index of the first difference, or n. Whole buffers are compared, so that a write where none
// belongs is seen too.
template <class T>
size_t FirstDifference(const Guarded<T>& want, const Guarded<T>& got) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (!Same(want[i], got[i])) return i;
  }
  return want.size();
}

#define CHECK_SAME(want, got)                                                       \
  do {                                                                              \
    const size_t difference = FirstDifference(want, got);                           \
    CAPTURE(difference);                                                            \
    if (difference < (want).size()) CHECK((got)[difference] == (want)[difference]); \
    CHECK(difference == (want).size());                                             \
  } while (0)

const KernelTable& Reference() {
  return *RunnableTables().back();
}

// Calls check(table) for every table but the reference.
template <class Check>
void ForEachTable(const Check& check) {
  for (const KernelTable* table : RunnableTables()) {
    if (table == &Reference()) continue;
    const std::string isa = table->isa;
    CAPTURE(isa);
    check(*table);
  }
}

Guarded<float> Floats(Fill fill, uint32_t seed, size_t n) {
  std::mt19937 rng(seed);
  Guarded<float> values(n);
  FillFloats(fill, rng, values.data(), n);
  return values;
}

Guarded<float> Copy(const Guarded<float>& from) {
  Guarded<float> to(from.size());
  std::memcpy(to.data(), from.data(), from.size() * sizeof(float));
  return to;
}

}  // namespace

TEST_CASE("which targets ran") {
  std::string names;
  for (const KernelTable* table : RunnableTables()) names += std::string(" ") + table->isa;
  std::printf("targets run:%s\n", names.c_str());
  CHECK(std::string(Reference().isa) == "reference");
}

TEST_CASE("quantize_rows") {
  for (const MatmulCase& c : MatmulCases()) {
    const size_t stride = c.cols + 3;
    const auto x = Floats(c.fill, 1, (c.m - 1) * stride + c.cols);
    for (const bool biased : {false, true}) {
      TestActivations want(Reference(), biased, x.data(), stride, c.m, c.cols);
      ForEachTable([&](const KernelTable& k) {
        CAPTURE(c.cols);
        CAPTURE(c.m);
        CAPTURE(static_cast<int>(c.fill));
        CAPTURE(biased);
        TestActivations got(k, biased, x.data(), stride, c.m, c.cols);
        CHECK_SAME(want.codes, got.codes);
        CHECK_SAME(want.scales, got.scales);
        CHECK_SAME(want.sums, got.sums);
      });
    }
  }
}

TEST_CASE("matmul of quantized weights") {
  for (const WeightKind& kind : kQuantizedKinds) {
    for (const MatmulCase& c : MatmulCases()) {
      const TestMatrix w(kind, c.rows, c.cols, c.fill, 2);
      const auto x = Floats(c.fill, 3, c.m * c.cols);
      TestActivations activations(Reference(), false, x.data(), c.cols, c.m, c.cols);
      TestActivations biased(Reference(), true, x.data(), c.cols, c.m, c.cols);
      const auto bias = Floats(Fill::kRandom, 4, c.rows);
      const float* b = c.bias ? bias.data() : nullptr;
      const size_t stride = c.rows + 5;
      Guarded<float> want((c.m - 1) * stride + c.rows, 77.0f);
      const size_t tiles = w.layout.row_tiles;
      QuantizedMatmulOf(Reference(), kind.dtype)(w.view, activations.Rows(), c.m, b, want.data(),
                                                 stride, 0, tiles);
      ForEachTable([&](const KernelTable& k) {
        CAPTURE(kind.name);
        CAPTURE(c.rows);
        CAPTURE(c.cols);
        CAPTURE(c.m);
        CAPTURE(static_cast<int>(c.fill));
        Guarded<float> got(want.size(), 77.0f);
        const auto matmul = QuantizedMatmulOf(k, kind.dtype);
        const auto rows = BiasedCodes(k, kind.dtype, c.m) ? biased.Rows() : activations.Rows();
        matmul(w.view, rows, c.m, b, got.data(), stride, tiles / 3, tiles);
        matmul(w.view, rows, c.m, b, got.data(), stride, 0, tiles / 3);
        CHECK_SAME(want, got);
      });
    }
  }
}

TEST_CASE("matmul of float weights") {
  for (const WeightKind& kind : kFloatKinds) {
    for (const MatmulCase& c : MatmulCases()) {
      const TestMatrix w(kind, c.rows, c.cols, c.fill, 5);
      const size_t x_stride = c.cols + 1, stride = c.rows + 5;
      const auto x = Floats(c.fill, 6, (c.m - 1) * x_stride + c.cols);
      const auto bias = Floats(Fill::kRandom, 7, c.rows);
      const float* b = c.bias ? bias.data() : nullptr;
      Guarded<float> want((c.m - 1) * stride + c.rows, 77.0f);
      const size_t tiles = w.layout.row_tiles;
      FloatMatmulOf(Reference(), kind.dtype)(w.view, x.data(), x_stride, c.m, b, want.data(),
                                             stride, 0, tiles);
      ForEachTable([&](const KernelTable& k) {
        CAPTURE(kind.name);
        CAPTURE(c.rows);
        CAPTURE(c.cols);
        CAPTURE(c.m);
        CAPTURE(static_cast<int>(c.fill));
        Guarded<float> got(want.size(), 77.0f);
        const auto matmul = FloatMatmulOf(k, kind.dtype);
        matmul(w.view, x.data(), x_stride, c.m, b, got.data(), stride, 0, tiles / 3);
        matmul(w.view, x.data(), x_stride, c.m, b, got.data(), stride, tiles / 3, tiles);
        CHECK_SAME(want, got);
      });
    }
  }
}

TEST_CASE("norms and elementwise kernels: also in place") {
  for (const Fill fill : kFills) {
    for (const size_t n : kSizes) {
      const auto x = Floats(fill, 8, n), weight = Floats(Fill::kRandom, 9, n);
      const auto bias = Floats(Fill::kRandom, 10, n);
      Guarded<float> norm(n), rms(n), sum(n), product(n), gelu(n), silu(n), scaled(n), capped(n);
      Reference().layer_norm(x.data(), weight.data(), bias.data(), norm.data(), n, 1e-5f);
      Reference().rms_norm(x.data(), weight.data(), rms.data(), n, 1e-5f);
      Reference().add_scaled(x.data(), bias.data(), 7.4833f, sum.data(), n);
      Reference().multiply(x.data(), bias.data(), product.data(), n);
      Reference().gelu_tanh(x.data(), gelu.data(), n);
      Reference().silu(x.data(), silu.data(), n);
      Reference().scale(x.data(), 0.7f, scaled.data(), n);
      Reference().softcap(x.data(), 1.7f, capped.data(), n);
      ForEachTable([&](const KernelTable& k) {
        CAPTURE(n);
        CAPTURE(static_cast<int>(fill));
        auto y = Copy(x);
        k.layer_norm(y.data(), weight.data(), bias.data(), y.data(), n, 1e-5f);
        CHECK_SAME(norm, y);
        y = Copy(x);
        k.rms_norm(y.data(), weight.data(), y.data(), n, 1e-5f);
        CHECK_SAME(rms, y);
        y = Copy(x);
        k.add_scaled(y.data(), bias.data(), 7.4833f, y.data(), n);
        CHECK_SAME(sum, y);
        y = Copy(x);
        k.multiply(y.data(), bias.data(), y.data(), n);
        CHECK_SAME(product, y);
        Guarded<float> z(n);
        k.multiply(x.data(), bias.data(), z.data(), n);
        CHECK_SAME(product, z);
        k.gelu_tanh(x.data(), z.data(), n);
        CHECK_SAME(gelu, z);
        k.silu(x.data(), z.data(), n);
        CHECK_SAME(silu, z);
        y = Copy(x);
        k.silu(y.data(), y.data(), n);
        CHECK_SAME(silu, y);
        y = Copy(x);
        k.scale(y.data(), 0.7f, y.data(), n);
        CHECK_SAME(scaled, y);
        y = Copy(x);
        k.softcap(y.data(), 1.7f, y.data(), n);
        CHECK_SAME(capped, y);
      });
    }
  }
}

TEST_CASE("gelu_tanh, softcap and silu over the whole range of exp") {
  constexpr size_t kCount = 20001;
  Guarded<float> x(kCount), want(kCount), got(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = (static_cast<float>(i) - 10000.0f) * 0.0015f;
  Reference().gelu_tanh(x.data(), want.data(), kCount);
  ForEachTable([&](const KernelTable& k) {
    k.gelu_tanh(x.data(), got.data(), kCount);
    CHECK_SAME(want, got);
  });
  Reference().softcap(x.data(), 0.8f, want.data(), kCount);
  ForEachTable([&](const KernelTable& k) {
    k.softcap(x.data(), 0.8f, got.data(), kCount);
    CHECK_SAME(want, got);
  });
  for (float& v : x) v *= 8;
  Reference().silu(x.data(), want.data(), kCount);
  ForEachTable([&](const KernelTable& k) {
    k.silu(x.data(), got.data(), kCount);
    CHECK_SAME(want, got);
  });
}

TEST_CASE("rope_neox and rope_interleaved") {
  for (const size_t half : {1, 3, 8, 15, 16, 17, 32, 48, 64}) {
    for (const size_t heads : {1, 4}) {
      const size_t stride = 2 * half + 3;  // what is not rotated must stay
      const auto x = Floats(Fill::kRandom, 11, (heads - 1) * stride + 2 * half);
      const auto cosines = Floats(Fill::kRandom, 12, half), sines = Floats(Fill::kMixed, 13, half);
      for (const auto rope : {&KernelTable::rope_neox, &KernelTable::rope_interleaved}) {
        auto want = Copy(x);
        (Reference().*rope)(want.data(), stride, heads, half, cosines.data(), sines.data());
        ForEachTable([&](const KernelTable& k) {
          CAPTURE(half);
          CAPTURE(rope == &KernelTable::rope_neox);
          auto got = Copy(x);
          (k.*rope)(got.data(), stride, heads, half, cosines.data(), sines.data());
          CHECK_SAME(want, got);
        });
      }
    }
  }
}

namespace {

// A cache of T (float, f16 bits or codes) whose positions that no query may see hold NaN.
template <class T>
struct TestCache {
  size_t key_dim, value_stride;
  Guarded<T> keys, values;
  Guarded<float> key_scales, value_scales;

  TestCache(const AttentionCase& c, T nan)
      : key_dim(sizeof(T) == 1 ? (c.head_dim + 3) / 4 * 4 : c.head_dim),
        value_stride(c.head_dim + 7),
        keys(c.capacity * key_dim, nan),
        values((c.capacity - 1) * value_stride + c.head_dim, nan),
        key_scales(c.capacity, std::numeric_limits<float>::quiet_NaN()),
        value_scales(c.capacity, std::numeric_limits<float>::quiet_NaN()) {}
  // The block that begins at this position.
  KvBlock Block(size_t begin) {
    const bool scaled = sizeof(T) == 1;
    return {keys.data() + begin * key_dim, values.data() + begin * value_stride, value_stride,
            scaled ? key_scales.data() + begin : nullptr,
            scaled ? value_scales.data() + begin : nullptr};
  }
  void Store(const KernelTable& k, KvType type, const AttentionCase& c, const float* rows) {
    for (size_t i = 0; i + 1 < c.capacity; ++i) {
      const float* row = rows + 2 * i * c.head_dim;
      k.kv_store[static_cast<size_t>(type)](row, row + c.head_dim, c.head_dim,
                                            Block(i / kKeyBlock * kKeyBlock), i % kKeyBlock);
    }
  }
};

// Causal, everything, one key, a window: by query.
std::vector<AttentionQuery> Queries(const AttentionCase& c, uint32_t seed, const float* q) {
  std::mt19937 rng(seed);
  const int32_t last = static_cast<int32_t>(c.capacity) - 1;  // position `last` holds NaN
  std::vector<AttentionQuery> queries;
  for (size_t i = 0; i < c.n_queries; ++i) {
    int32_t lo = 0, hi = last;
    if (seed % 4 == 1) hi = std::min(last, static_cast<int32_t>(c.key_begin + i + 1));
    if (seed % 4 == 2) lo = std::min(last - 1, static_cast<int32_t>(c.key_begin + i)), hi = lo + 1;
    if (seed % 4 == 3) {
      lo = static_cast<int32_t>(rng() % c.capacity);
      hi = std::min(last, lo + static_cast<int32_t>(rng() % 90));
    }
    queries.push_back({q + i * (c.head_dim + 1), lo, hi});
  }
  return queries;
}

// The states after the block at key_begin, and after the blocks before it if `all`.
struct AttentionResult {
  Guarded<float> maximum, sum, out;

  template <class T>
  AttentionResult(const KernelTable& k, KvType type, const AttentionCase& c, TestCache<T>& cache,
                  const std::vector<AttentionQuery>& queries, bool all, float softcap)
      : maximum(c.n_queries, -std::numeric_limits<float>::infinity()),
        sum(c.n_queries, -0.0f),
        out((c.n_queries - 1) * (c.head_dim + 2) + c.head_dim, -0.0f) {
    Guarded<float> scratch(AttentionScratch(c.n_queries, c.head_dim),
                           std::numeric_limits<float>::quiet_NaN());
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
    for (size_t begin = all ? 0 : c.key_begin; begin <= c.key_begin; begin += kKeyBlock) {
      k.attention_block[static_cast<size_t>(type)]({queries.data(), c.n_queries, c.head_dim,
                                                    cache.Block(begin), begin, scale,
                                                    maximum.data(), sum.data(), out.data(),
                                                    c.head_dim + 2, scratch.data(), softcap});
    }
  }
};

template <class T>
void CheckAttention(KvType type, T nan) {
  for (const AttentionCase& c : kAttentionCases) {
    for (const Fill fill : {Fill::kRandom, Fill::kMixed, Fill::kZero, Fill::kNonFinite}) {
      const auto rows = Floats(fill, 14, 2 * c.capacity * c.head_dim);
      const auto q = Floats(fill, 15, (c.n_queries - 1) * (c.head_dim + 1) + c.head_dim);
      TestCache<T> cache(c, nan);
      cache.Store(Reference(), type, c, rows.data());
      ForEachTable([&](const KernelTable& k) {
        TestCache<T> own(c, nan);
        own.Store(k, type, c, rows.data());
        CHECK_SAME(cache.keys, own.keys);
        CHECK_SAME(cache.values, own.values);
        CHECK_SAME(cache.key_scales, own.key_scales);
        CHECK_SAME(cache.value_scales, own.value_scales);
      });
      for (uint32_t seed = 0; seed < 8; ++seed) {
        const auto queries = Queries(c, seed, q.data());
        const float softcap = seed < 4 ? 0.0f : 1.5f;
        AttentionResult want(Reference(), type, c, cache, queries, seed % 2 == 0, softcap);
        ForEachTable([&](const KernelTable& k) {
          CAPTURE(c.head_dim);
          CAPTURE(c.n_queries);
          CAPTURE(static_cast<int>(fill));
          CAPTURE(seed);
          AttentionResult got(k, type, c, cache, queries, seed % 2 == 0, softcap);
          CHECK_SAME(want.maximum, got.maximum);
          CHECK_SAME(want.sum, got.sum);
          CHECK_SAME(want.out, got.out);
        });
      }
    }
  }
}

}  // namespace

TEST_CASE("kv_store and attention_block, f32") {
  CheckAttention<float>(KvType::kF32, std::numeric_limits<float>::quiet_NaN());
}

TEST_CASE("kv_store and attention_block, f16") {
  CheckAttention<uint16_t>(KvType::kF16, 0x7e00);
}

TEST_CASE("kv_store and attention_block, int8") {
  CheckAttention<int8_t>(KvType::kInt8, -128);
}

TEST_CASE("attention_combine") {
  for (const size_t head_dim : {1, 16, 17, 64, 100, 128}) {
    for (const size_t n : {1, 2, 5, 16}) {
      for (int kind = 0; kind < 4; ++kind) {
        const size_t stride = head_dim + 3;
        auto maximum = Floats(kind == 2 ? Fill::kNonFinite : Fill::kRandom, 16, 2 * n);
        auto sum = Floats(Fill::kMax, 17, 2 * n);
        const auto partial = Floats(Fill::kRandom, 18, (n - 1) * stride + head_dim);
        for (size_t i = 0; i < n; ++i) {
          const bool unseen = kind == 3 || (kind == 1 && i % 2 == 0);
          if (unseen) maximum[2 * i] = -std::numeric_limits<float>::infinity(), sum[2 * i] = -0.0f;
        }
        Guarded<float> want(head_dim);
        Reference().attention_combine(maximum.data(), sum.data(), 2, partial.data(), stride, n,
                                      head_dim, want.data());
        ForEachTable([&](const KernelTable& k) {
          CAPTURE(head_dim);
          CAPTURE(n);
          CAPTURE(kind);
          Guarded<float> got(head_dim, 77.0f);
          k.attention_combine(maximum.data(), sum.data(), 2, partial.data(), stride, n, head_dim,
                              got.data());
          CHECK_SAME(want, got);
        });
      }
    }
  }
}

TEST_CASE("the machine peaks' loops") {
  Guarded<uint64_t> words(3 * 8 * 37);
  std::mt19937_64 rng(19);
  for (uint64_t& word : words) word = rng();
  for (const size_t bytes : {size_t{64}, size_t{640}, words.size() * 8}) {
    const uint64_t want = Reference().read_sum(words.data(), bytes);
    ForEachTable([&](const KernelTable& k) {
      CHECK(k.read_sum(words.data(), bytes) == want);
      int32_t sink = 3;
      CHECK(k.dot_peak(10, &sink) > 0);
      CHECK(sink != 3);
    });
  }
}
