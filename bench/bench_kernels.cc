// Speed of every kernel of every target that this CPU can run, on one thread, as shares of what the
// machine can do: its int8 dot peak for matmuls of many tokens, its read bandwidth for one token,
// both measured in the same run. Usage: bench_kernels [--json] [--quick] [--only KERNEL]
// [--seconds S] [TARGET]... (S: how long to repeat each). bench/README.md has the JSON. Times are
// this thread's CPU time, because the machine may be shared.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "lib/machine_info.h"
#include "tests/kernel_cases.h"

namespace glint {
namespace {

struct Options {
  bool json = false;
  bool quick = false;
  double seconds = 0.4;  // no further repetition of a kernel after so long
  std::string only;  // a part of the names of the kernels to run
  std::vector<std::string> targets;
};

struct Result {
  std::string target, kernel, shape;
  double seconds = 0, macs = 0, bytes = 0;  // of one call
};

struct Peaks {
  double macs = 0, bytes = 0;  // per second
};

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds of the fastest of several calls.
template <class F>
double Fastest(const Options& options, const F& f) {
  double best = 1e9, total = 0;
  const double limit = options.quick ? 0.02 : options.seconds;
  for (int i = 0; i < 3 || (i < 200 && total < limit); ++i) {
    const double start = CpuSeconds();
    f();
    const double seconds = CpuSeconds() - start;
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {}

  Peaks MeasurePeaks(const KernelTable& k) {
    const uint64_t iterations = options_.quick ? 100'000 : 2'000'000;
    const std::vector<uint64_t> words((options_.quick ? 64 : 512) << 17, 1);
    uint64_t macs = 0, sum = 0;
    int32_t sink = 1;
    const double dot = Fastest(options_, [&] { macs = k.dot_peak(iterations, &sink); });
    const double read =
        Fastest(options_, [&] { sum += k.read_sum(words.data(), words.size() * 8); });
    if (sum == 0) std::abort();
    return {static_cast<double>(macs) / dot, static_cast<double>(words.size() * 8) / read};
  }

  void Matmuls(const KernelTable& k, std::vector<Result>* results) {
    for (const BenchShape& shape : kBenchShapes) {
      const size_t rows = options_.quick ? shape.rows / 16 : shape.rows, cols = shape.cols;
      const std::string dims = std::to_string(rows) + "x" + std::to_string(cols);
      for (const WeightKind& kind : kQuantizedKinds) {
        if (!Wanted(kind)) continue;
        const TestMatrix w(kind, rows, cols, Fill::kRandom, 1);
        for (const size_t m : kBenchTokens) {
          if (m >= shape.min_tokens && m <= shape.max_tokens) {
            Quantized(k, kind, w, m, dims, results);
          }
        }
      }
      for (const WeightKind& kind : kFloatKinds) {
        if (!Wanted(kind)) continue;
        const TestMatrix w(kind, rows / 4, cols, Fill::kRandom, 1);
        for (const size_t m : kBenchTokens) {
          if (m >= shape.min_tokens && m <= shape.max_tokens && m <= 96)
            Float(k, kind, w, m, results);
        }
      }
    }
  }

  void Others(const KernelTable& k, std::vector<Result>* results) {
    constexpr size_t n = 4096, m = 96;
    std::mt19937 rng(1);
    std::vector<float> x(n * m), y(n * m), weight(n), bias(n);
    FillFloats(Fill::kRandom, rng, x.data(), x.size());
    FillFloats(Fill::kRandom, rng, weight.data(), n);
    const double row_bytes = 8.0 * n;
    Add(k, "layer_norm", "4096", 0, row_bytes, results,
        [&] { k.layer_norm(x.data(), weight.data(), bias.data(), y.data(), n, 1e-5f); });
    Add(k, "gelu_tanh", "4096", 0, row_bytes, results, [&] { k.gelu_tanh(x.data(), y.data(), n); });
    Add(k, "add_scaled", "4096", 0, row_bytes * 1.5, results,
        [&] { k.add_scaled(x.data(), weight.data(), 7.5f, y.data(), n); });
    Add(k, "rms_norm", "4096", 0, row_bytes, results,
        [&] { k.rms_norm(x.data(), weight.data(), y.data(), n, 1e-5f); });
    Add(k, "silu", "4096", 0, row_bytes, results, [&] { k.silu(x.data(), y.data(), n); });
    Add(k, "multiply", "4096", 0, row_bytes * 1.5, results,
        [&] { k.multiply(x.data(), weight.data(), y.data(), n); });
    Add(k, "scale", "4096", 0, row_bytes, results,
        [&] { k.scale(x.data(), 1.5f, y.data(), n); });
    Add(k, "softcap", "4096", 0, row_bytes, results,
        [&] { k.softcap(x.data(), 30.0f, y.data(), n); });
    // 32 heads of 128 elements, in place; angles of 0, so that the numbers stay what they are.
    const std::vector<float> cosines(64, 1.0f), sines(64, 0.0f);
    Add(k, "rope_neox", "32x128", 0, row_bytes, results,
        [&] { k.rope_neox(y.data(), 128, 32, 64, cosines.data(), sines.data()); });
    Add(k, "rope_interleaved", "32x128", 0, row_bytes, results,
        [&] { k.rope_interleaved(y.data(), 128, 32, 64, cosines.data(), sines.data()); });
    std::vector<int8_t> codes(n * m);
    std::vector<float> scales(n * m / kActivationBlock);
    std::vector<int16_t> sums(n * m / kSumColumns);
    Add(k, "quantize_rows", "96x4096", 0, row_bytes / 2 * m, results, [&] {
      k.quantize_rows(x.data(), n, m, n, false, {codes.data(), scales.data(), sums.data()}, 0,
                      m / kPanelTokens);
    });
    for (const size_t queries : {kMaxQueries, size_t{16}, size_t{4}, size_t{1}}) {
      Attention(k, queries, 0, results);
    }
    for (const size_t queries : {kMaxQueries, size_t{1}}) Attention(k, queries, 50, results);
  }

 private:
  bool Wanted(const WeightKind& kind) const {
    return (std::string("matmul_") + kind.name).find(options_.only) != std::string::npos;
  }

  template <class F>
  void Add(const KernelTable& k, const std::string& kernel, const std::string& shape, double macs,
           double bytes, std::vector<Result>* results, const F& f) {
    if (kernel.find(options_.only) == std::string::npos) return;
    results->push_back({k.isa, kernel, shape, Fastest(options_, f), macs, bytes});
  }

  void Quantized(const KernelTable& k, const WeightKind& kind, const TestMatrix& w, size_t m,
                 const std::string& dims, std::vector<Result>* results) {
    const size_t rows = w.layout.rows, cols = w.layout.cols;
    std::mt19937 rng(1);
    std::vector<float> x(m * cols), y(m * rows);
    FillFloats(Fill::kRandom, rng, x.data(), x.size());
    TestActivations activations(k, BiasedCodes(k, kind.dtype, m), x.data(), cols, m, cols);
    const auto matmul = QuantizedMatmulOf(k, kind.dtype);
    Add(k, std::string("matmul_") + kind.name, dims + " m=" + std::to_string(m),
        static_cast<double>(rows * cols * m), static_cast<double>(w.layout.bytes), results, [&] {
          matmul(w.view, activations.Rows(), m, nullptr, y.data(), rows, 0, w.layout.row_tiles);
        });
  }

  void Float(const KernelTable& k, const WeightKind& kind, const TestMatrix& w, size_t m,
             std::vector<Result>* results) {
    const size_t rows = w.layout.rows, cols = w.layout.cols;
    std::mt19937 rng(1);
    std::vector<float> x(m * cols), y(m * rows);
    FillFloats(Fill::kRandom, rng, x.data(), x.size());
    const auto matmul = FloatMatmulOf(k, kind.dtype);
    const std::string dims = std::to_string(rows) + "x" + std::to_string(cols);
    Add(k, std::string("matmul_") + kind.name, dims + " m=" + std::to_string(m),
        static_cast<double>(rows * cols * m), static_cast<double>(w.layout.bytes), results,
        [&] { matmul(w.view, x.data(), cols, m, nullptr, y.data(), rows, 0, w.layout.row_tiles); });
  }

  // One head over 2048 keys, seen by all queries.
  void Attention(const KernelTable& k, size_t queries, float softcap,
                 std::vector<Result>* results) {
    constexpr size_t kHeadDim = 128, kCapacity = 2048;
    std::mt19937 rng(1);
    std::vector<float> q(queries * kHeadDim), out(q.size()), maximum(queries), sum(queries);
    Guarded<float> scratch(AttentionScratch(queries, kHeadDim));
    std::vector<float> scales(kCapacity, 0.01f);
    FillFloats(Fill::kRandom, rng, q.data(), q.size());
    std::vector<AttentionQuery> list;
    for (size_t i = 0; i < queries; ++i) list.push_back({&q[i * kHeadDim], 0, kCapacity});
    constexpr struct {
      const char* name;
      size_t element;
    } kTypes[kKvTypeCount] = {{"f32", 4}, {"f16", 2}, {"int8", 1}};
    for (size_t type = 0; type < kKvTypeCount; ++type) {
      std::vector<uint8_t> keys(kCapacity * kHeadDim * kTypes[type].element), values(keys.size());
      const double macs = 2.0 * static_cast<double>(queries * kHeadDim * kCapacity);
      Add(k, std::string("attention_") + kTypes[type].name,
          "128x2048 q=" + std::to_string(queries) + (softcap == 0 ? "" : " softcap"), macs,
          static_cast<double>(2 * keys.size()), results, [&] {
            for (size_t begin = 0; begin < kCapacity; begin += kKeyBlock) {
              const size_t at = begin * kHeadDim * kTypes[type].element;
              const KvBlock block = {keys.data() + at, values.data() + at, kHeadDim,
                                     scales.data() + begin, scales.data() + begin};
              k.attention_block[type]({list.data(), queries, kHeadDim, block, begin, 0.088f,
                                       maximum.data(), sum.data(), out.data(), kHeadDim,
                                       scratch.data(), softcap});
            }
          });
    }
  }

  Options options_;
};

void PrintText(const KernelTable& k, const Peaks& peaks, const std::vector<Result>& results) {
  std::printf("%s: int8 dot peak %.1f GMAC/s, read %.1f GB/s\n", k.isa, peaks.macs / 1e9,
              peaks.bytes / 1e9);
  for (const Result& r : results) {
    const double macs = r.macs / r.seconds, bytes = r.bytes / r.seconds;
    std::printf("  %-20s %-20s %9.1f us %8.1f GMAC/s (%5.1f%%) %7.1f GB/s (%5.1f%%)\n",
                r.kernel.c_str(), r.shape.c_str(), r.seconds * 1e6, macs / 1e9,
                100 * macs / peaks.macs, bytes / 1e9, 100 * bytes / peaks.bytes);
  }
}

// One element of "targets".
void PrintJson(const KernelTable& k, const Peaks& peaks, const std::vector<Result>& results,
               bool first) {
  std::printf(
      "%s\n {\"isa\": \"%s\", \"dot_gmac_per_s\": %.2f, \"read_gb_per_s\": %.2f, "
      "\"kernels\": [",
      first ? "" : ",", k.isa, peaks.macs / 1e9, peaks.bytes / 1e9);
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    const double macs = r.macs / r.seconds, bytes = r.bytes / r.seconds;
    std::printf(
        "%s\n  {\"kernel\": \"%s\", \"shape\": \"%s\", \"us\": %.2f, \"gmac_per_s\": %.2f, "
        "\"gb_per_s\": %.2f, \"share_of_dot_peak\": %.4f, \"share_of_bandwidth\": %.4f, "
        "\"macs_per_byte\": %.4f}",
        i ? "," : "", r.kernel.c_str(), r.shape.c_str(), r.seconds * 1e6, macs / 1e9, bytes / 1e9,
        macs / peaks.macs, bytes / peaks.bytes, macs / bytes);
  }
  std::printf("]}");
}

int Run(const Options& options) {
  bool first = true;
  if (options.json) {
    std::printf("{\"machine\": %s,\n\"targets\": [", MachineInfo().dump().c_str());
  }
  for (const KernelTable* table : RunnableTables()) {
    const auto& wanted = options.targets;
    const bool named = std::find(wanted.begin(), wanted.end(), table->isa) != wanted.end();
    const bool is_reference = std::string(table->isa) == "reference";
    if (wanted.empty() ? is_reference : !named) continue;
    Bench bench(options);
    const Peaks peaks = bench.MeasurePeaks(*table);
    std::vector<Result> results;
    bench.Matmuls(*table, &results);
    bench.Others(*table, &results);
    if (options.json) {
      PrintJson(*table, peaks, results, first);
    } else {
      PrintText(*table, peaks, results);
    }
    first = false;
    std::fflush(stdout);
  }
  if (options.json) std::printf("]}\n");
  return 0;
}

}  // namespace
}  // namespace glint

int main(int argc, char** argv) {
  glint::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else if (argument == "--seconds" && i + 1 < argc) {
      options.seconds = std::atof(argv[++i]);
    } else {
      options.targets.push_back(argument);
    }
  }
  return glint::Run(options);
}
