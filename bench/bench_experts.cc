// What a layer of experts costs, beside dense matrices of as many rows as a token meets: the same
// multiply-adds, and for one token the same bytes. There are as many dense networks, used in turn,
// as have the bytes of all experts together, so that the caches help neither.
//
// usage: bench_experts [--experts E] [--top-k K] [--dim D] [--hidden N] [--threads N] [--rounds N]
//                      [--tokens 1,8,128]
//
// Both are gate, up and down of a gated feed-forward network, in int4 with random codes; the shape
// is Mixtral's unless said otherwise. Each round runs both one after the other, and reads memory at
// full speed beside them, so that a busy machine disturbs all alike. Medians over the rounds; with
// one thread of its CPU time. More tokens than one read more experts' bytes than the dense network
// has.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "lib/builder.h"
#include "lib/error.h"
#include "lib/executor.h"
#include "lib/plan.h"
#include "lib/system/pages.h"
#include "quant/encode.h"

using namespace glint;

namespace {

constexpr size_t kVocab = 256;

struct Options {
  size_t experts = 8, top_k = 2, dim = 4096, hidden = 14336, threads = DefaultThreads(), rounds = 9;
  std::vector<size_t> tokens = {1, 8, 128, 512};
};

Options Parse(int argc, char** argv) {
  Options options;
  const std::vector<std::pair<const char*, size_t*>> numbers = {
      {"--experts", &options.experts}, {"--top-k", &options.top_k},
      {"--dim", &options.dim},         {"--hidden", &options.hidden},
      {"--threads", &options.threads}, {"--rounds", &options.rounds}};
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    const auto known = std::find_if(numbers.begin(), numbers.end(),
                                    [&](const auto& number) { return name == number.first; });
    if (i + 1 == argc || (known == numbers.end() && name != "--tokens")) {
      throw Error("unexpected argument " + name);
    }
    if (known != numbers.end()) {
      *known->second = std::max<size_t>(1, std::strtoul(argv[i + 1], nullptr, 10));
      continue;
    }
    options.tokens.clear();
    for (char* at = argv[i + 1]; *at != '\0'; at += *at == ',') {
      options.tokens.push_back(std::max<size_t>(1, std::strtoul(at, &at, 10)));
    }
  }
  return options;
}

uint64_t Next(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  return z ^ (z >> 31);
}

// Matrices of random numbers. Their memory, which the process keeps until it ends, comes in large
// pieces, so that small ones lie in huge pages too.
std::vector<Tensor> g_tensors;

uint8_t* TakeMemory(uint64_t bytes) {
  constexpr uint64_t kPiece = uint64_t{1} << 28;
  static uint8_t* piece = nullptr;
  static uint64_t left = 0;
  bytes = (bytes + 63) / 64 * 64;
  if (bytes > left) {
    left = std::max(bytes, kPiece);
    piece = ReservePages(left);
    if (!piece) throw Error("out of memory");
  }
  left -= bytes;
  piece += bytes;
  return piece - bytes;
}

uint64_t AddMatrix(const std::string& name, size_t rows, size_t cols, DType dtype) {
  Tensor tensor;
  tensor.name = name;
  tensor.dtype = dtype;
  tensor.shape = {rows, cols};
  TensorBytes(dtype, BlockOffset::kNone, tensor.shape, &tensor.bytes);
  uint8_t* memory = TakeMemory(tensor.bytes);
  tensor.data = memory;
  const MatrixLayout layout = ViewOf(tensor).layout;
  uint64_t random = g_tensors.size();
  if (dtype == DType::kF32) {
    float* numbers = reinterpret_cast<float*>(memory);
    for (uint64_t i = 0; i < tensor.bytes / 4; ++i) {
      numbers[i] = static_cast<float>(static_cast<int32_t>(Next(&random) >> 32)) * 0x1p-31f;
    }
  } else {
    WriteTable(DefaultTable(dtype), memory);
    for (uint64_t i = layout.codes; i + 8 <= tensor.bytes; i += 8) {
      const uint64_t bits = Next(&random);
      std::memcpy(memory + i, &bits, 8);
    }
    std::memset(memory + layout.block_scales, 64, layout.row_tiles * layout.block_scales_tile);
    for (uint64_t r = 0; r < layout.row_tiles * kTileRows; ++r) {
      const float scale = 1e-6f;
      std::memcpy(memory + layout.row_scales + r * sizeof scale, &scale, sizeof scale);
    }
  }
  g_tensors.push_back(tensor);
  return tensor.bytes;
}

const Tensor* FindMatrix(const std::string& name) {
  for (const Tensor& tensor : g_tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

size_t Sets(const Options& o) {
  return std::max<size_t>(1, o.experts / o.top_k);
}
std::string InSet(const char* word, size_t set) {
  return word + ("@" + std::to_string(set));
}

// Adds the matrices; returns the bytes of a dense network.
uint64_t AddMatrices(const Options& o) {
  AddMatrix("x", kVocab, o.dim, DType::kF32);
  AddMatrix("router", o.experts, o.dim, DType::kF32);
  for (size_t e = 0; e < o.experts; ++e) {
    AddMatrix("gate." + std::to_string(e), o.hidden, o.dim, DType::kInt4);
    AddMatrix("up." + std::to_string(e), o.hidden, o.dim, DType::kInt4);
    AddMatrix("down." + std::to_string(e), o.dim, o.hidden, DType::kInt4);
  }
  const size_t wide = o.top_k * o.hidden;
  uint64_t bytes = 0;
  for (size_t set = 0; set < Sets(o); ++set) {
    bytes = AddMatrix(InSet("gate", set), wide, o.dim, DType::kInt4) +
            AddMatrix(InSet("up", set), wide, o.dim, DType::kInt4) +
            AddMatrix(InSet("down", set), o.dim, wide, DType::kInt4);
  }
  return bytes;
}

Graph ExpertsGraph(const Options& o) {
  GraphBuilder g("main", {"ids"}, g_tensors, "bench");
  std::vector<std::string> gate, up, down;
  for (size_t e = 0; e < o.experts; ++e) {
    gate.push_back("gate." + std::to_string(e));
    up.push_back("up." + std::to_string(e));
    down.push_back("down." + std::to_string(e));
  }
  const auto x = g.Embedding(g.Input("ids"), "x");
  const auto routing =
      g.Route(g.Linear(x, "router", "", "logits"), static_cast<int64_t>(o.top_k), true);
  const auto silu = g.Silu(g.RoutedLinear(x, routing, gate, "gate"));
  const auto gated = g.Mul(silu, g.RoutedLinear(x, routing, up, "up"));
  return g.Finish(g.Combine(g.RoutedLinear(gated, routing, down, "down"), routing), "out");
}

Graph DenseGraph(size_t set) {
  GraphBuilder g("main", {"ids"}, g_tensors, "bench");
  const auto x = g.Embedding(g.Input("ids"), "x");
  const auto silu = g.Silu(g.Linear(x, InSet("gate", set), "", "gate"));
  const auto gated = g.Mul(silu, g.Linear(x, InSet("up", set), "", "up"));
  return g.Finish(g.Linear(gated, InSet("down", set), "", "down"), "out");
}

// Of the clock, or with one thread of its own time, which other programs take no part of.
double Now(const ThreadPool& pool) {
  timespec time;
  clock_gettime(pool.size() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Runs graphs of n tokens, other ones each time.
class Runner {
 public:
  Runner(const Graph& graph, size_t n, const Options& o, ThreadPool& pool)
      : pool_(pool), plan_(graph, FindMatrix, OptionsFor(n, o), &tables_), ids_(n) {}

  double Seconds(size_t round) {
    for (size_t i = 0; i < ids_.size(); ++i) {
      ids_[i] = static_cast<int32_t>((round * 131 + i * 29) % kVocab);
    }
    RunInputs inputs;
    inputs.n = ids_.size();
    inputs.ids = ids_.data();
    const auto ignore = [](size_t, size_t, const float*, size_t) {};
    const OutputSink sink(ignore);
    const double begin = Now(pool_);
    Execute(plan_, inputs, inputs.n, ChooseKernels(), pool_, cache_, nullptr, sink);
    return Now(pool_) - begin;
  }

 private:
  static PlanOptions OptionsFor(size_t n, const Options& o) {
    PlanOptions options;
    options.max_rows = options.chunk = options.max_outputs = options.context = n;
    options.n_threads = o.threads;
    return options;
  }
  ThreadPool& pool_;
  RopeTables tables_;
  const KvCache cache_{1, 1, 1, 1, KvType::kF32};
  const Plan plan_;
  std::vector<int32_t> ids_;
};

// Reads a dense network at full width.
double ReadSeconds(ThreadPool& pool, size_t set) {
  const double begin = Now(pool);
  for (const char* name : {"gate", "up", "down"}) {
    const Tensor& tensor = *FindMatrix(InSet(name, set));
    constexpr uint64_t kPiece = 1 << 18;
    pool.Run((tensor.bytes + kPiece - 1) / kPiece, [&](size_t task, size_t) {
      const uint64_t at = task * kPiece, bytes = std::min(kPiece, tensor.bytes - at);
      volatile uint64_t sum = ChooseKernels().read_sum(tensor.data + at, bytes / 64 * 64);
      static_cast<void>(sum);
    });
  }
  return Now(pool) - begin;
}

void Measure(const Options& o) {
  const auto bytes = static_cast<double>(AddMatrices(o));
  const double macs = 3.0 * static_cast<double>(o.top_k * o.dim * o.hidden);
  ThreadPool pool(o.threads);
  const Graph experts = ExpertsGraph(o);
  std::vector<Graph> dense;
  for (size_t set = 0; set < Sets(o); ++set) dense.push_back(DenseGraph(set));
  std::printf("%zu experts of %zu x %zu, %zu chosen, int4; %s, %zu threads\n", o.experts, o.hidden,
              o.dim, o.top_k, ChooseKernels().isa, o.threads);
  for (const size_t n : o.tokens) {
    Runner routed(experts, n, o, pool);
    std::vector<std::unique_ptr<Runner>> plain;
    for (const Graph& graph : dense) plain.push_back(std::make_unique<Runner>(graph, n, o, pool));
    std::vector<double> routed_s, plain_s, read_s, ratio;
    for (size_t round = 0; round <= o.rounds; ++round) {
      const size_t set = round % Sets(o);
      const double a = routed.Seconds(round), b = plain[set]->Seconds(round);
      const double c = ReadSeconds(pool, (set + 1) % Sets(o));
      if (round == 0) continue;  // pages come
      routed_s.push_back(a);
      plain_s.push_back(b);
      read_s.push_back(c);
      ratio.push_back(a / b);
    }
    const double r = Median(routed_s), p = Median(plain_s), read = bytes / Median(read_s) * 1e-9;
    std::printf("%4zu tokens: experts %8.3f ms, dense %8.3f ms, ratio %.3f; ", n, r * 1e3, p * 1e3,
                Median(ratio));
    if (n == 1) {
      std::printf("%.1f and %.1f GB/s of %.1f: %.1f%% and %.1f%%\n", bytes / r * 1e-9,
                  bytes / p * 1e-9, read, bytes / r * 1e-7 / read, bytes / p * 1e-7 / read);
    } else {
      const double all = macs * static_cast<double>(n) * 1e-9;
      std::printf("%.0f and %.0f GMAC/s\n", all / r, all / p);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Measure(Parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_experts: %s\n", error.what());
    return 1;
  }
  return 0;
}
