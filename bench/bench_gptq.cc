// What GPTQ costs: the Hessian, its factor, and encoding, in seconds of processor time (other
// programs may run) and GFLOP/s, and what a 6B model would take on this machine.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "formats/convert/blas.h"
#include "formats/convert/gptq.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double PeakGiB() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

struct Sizes {
  size_t n, rows, tokens;
};

struct Costs {  // processor seconds: of a token, of all, of a row by sweeps
  double token, factor, row[3];
};

// Activations that have something in common, from one token to the next.
std::vector<float> Activations(size_t n, size_t tokens) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(n * tokens), common(n);
  for (float& v : common) v = normal(random);
  for (size_t t = 0; t < tokens; ++t) {
    const float share = normal(random);
    for (size_t i = 0; i < n; ++i) x[t * n + i] = share * common[i] + normal(random);
  }
  return x;
}

Costs Measure(const Sizes& sizes, DType dtype, ThreadPool& pool) {
  const double n = static_cast<double>(sizes.n);
  Costs costs;
  Hessian hessian(sizes.n);
  {
    const size_t batch = 512;
    const std::vector<float> x = Activations(sizes.n, batch);
    hessian.Add(x.data(), sizes.n, batch, pool);  // touches the memory
    const double start = CpuSeconds();
    for (size_t t = 0; t < sizes.tokens; t += batch) hessian.Add(x.data(), sizes.n, batch, pool);
    const size_t tokens = (sizes.tokens + batch - 1) / batch * batch;
    costs.token = (CpuSeconds() - start) / static_cast<double>(tokens);
  }
  std::printf("n %zu: Hessian %.0f tokens/s of one core, %.0f GFLOP/s\n", sizes.n, 1 / costs.token,
              n * n / costs.token * 1e-9);
  double start = CpuSeconds();
  const InverseFactor factor(hessian, {}, "bench", pool);
  costs.factor = CpuSeconds() - start;
  std::printf("  factor %.2f s, %.0f GFLOP/s\n", costs.factor,
              n * n * n * 2 / 3 / costs.factor * 1e-9);
  std::fflush(stdout);

  MatrixLayout layout;
  if (!ComputeLayout(dtype, BlockOffset::kNone, sizes.rows, sizes.n, &layout)) std::abort();
  uint8_t* const tensor = ReservePages(layout.bytes);
  const ReadMatrixRows read = [&](uint64_t row, uint64_t n_rows, float* out) {
    std::mt19937 random(static_cast<unsigned>(row));
    for (size_t i = 0; i < n_rows * sizes.n; ++i) {
      out[i] = static_cast<float>(random() >> 8) * 0x1p-24f - 0.5f;
    }
  };
  EncodeOptions encode;
  encode.table = DefaultTable(dtype);
  for (const size_t sweeps : {0, 1, 2}) {
    start = CpuSeconds();
    const GptqResult result = GptqEncode(layout, encode, {sweeps}, read, factor, "bench", pool, tensor);
    costs.row[sweeps] = (CpuSeconds() - start) / static_cast<double>(sizes.rows);
    std::printf("  %s, %zu sweeps: %.2f s for %zu rows, %.2f million weights/s, error %.5g\n",
                Info(dtype).name, sweeps, costs.row[sweeps] * static_cast<double>(sizes.rows),
                sizes.rows, n / costs.row[sweeps] * 1e-6, result.error);
    std::fflush(stdout);
  }
  ReleasePages(tensor, layout.bytes);
  return costs;
}

// ChatGLM-6B: 28 layers of 4096 inputs three times (to 12288, 4096, 16384 rows) and 16384 once (to
// 4096).
void Estimate(const Costs& narrow, const Costs& wide, double tokens, size_t threads) {
  constexpr double kLayers = 28;
  const double per_second = 1 / static_cast<double>(threads) / 60;
  const double hessian = kLayers * tokens * (3 * narrow.token + wide.token) * per_second;
  const double factor = kLayers * (3 * narrow.factor + wide.factor) * per_second;
  std::printf("ChatGLM-6B on %zu cores: Hessians of %.0f tokens %.0f min, factors %.0f min",
              threads, tokens, hessian, factor);
  for (size_t sweeps = 0; sweeps < 3; ++sweeps) {
    const double rows = kLayers * (32768 * narrow.row[sweeps] + 4096 * wide.row[sweeps]);
    std::printf(", encoding with %zu sweeps %.0f min", sweeps, rows * per_second);
  }
  std::printf("\npeak memory %.2f GiB\n", PeakGiB());
}

}  // namespace
}  // namespace glint

// bench_gptq [--quick] [TYPE]
int main(int argc, char** argv) {
  using namespace glint;
  bool quick = false;
  DType dtype = DType::kInt4;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else if (!ParseDType(argv[i], &dtype) || !HasGptq(dtype)) {
      std::fprintf(stderr, "usage: bench_gptq [--quick] [TYPE]\n");
      return 2;
    }
  }
  if (!GptqAvailable()) {
    std::printf("this build has no OpenBLAS\n");
    return 0;
  }
  const size_t threads = DefaultThreads();
  ThreadPool pool(threads);
  RequireBlas();
  std::printf("OpenBLAS kernels %s, %zu threads\n", BlasKernelName(), threads);
  const Costs narrow = Measure({4096, quick ? 256u : 1024u, quick ? 1024u : 4096u}, dtype, pool);
  if (quick) return 0;
  const Costs wide = Measure({16384, 256, 1024}, dtype, pool);
  Estimate(narrow, wide, 128 * 2048, threads);
  return 0;
}
