// What a session will take, and what made-up machines (folders that look like their /proc and /sys)
// have to give.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "lib/error.h"
#include "lib/memory_estimate.h"
#include "lib/system/free_memory.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

#if !defined(_WIN32)
class Machine {
 public:
  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  void Memory(uint64_t available_mib, uint64_t swap_mib) const {
    Write("/proc/meminfo",
          "MemTotal:       24684096 kB\nMemFree:        1024 kB\nMemAvailable:   " +
              std::to_string(available_mib * 1024) +
              " kB\nBuffers:  2048 kB\nCached:   4096 kB\nSwapTotal:  9999999 kB\n" +
              "SwapFree:  " + std::to_string(swap_mib * 1024) + " kB");
  }
  // The process is in v2 group /a/b, whose files these are; sizes in MiB.
  void Group(const std::string& group, const std::string& max, uint64_t current,
             uint64_t file_pages) const {
    Write("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    Write("/proc/self/cgroup", "0::/a/b");
    const std::string folder = "/sys/fs/cgroup" + group + "/memory.";
    Write(folder + "max", max);
    Write(folder + "current", std::to_string(current * kMib));
    Write(folder + "stat", "anon 4096\nfile 1\ninactive_file " + std::to_string(file_pages * kMib) +
                               "\nactive_file " + std::to_string(kMib) + "\n");
  }
  uint64_t FreeMib() const { return FreeMemory(root()) / kMib; }
  std::string root() const { return folder_; }

 private:
  std::string folder_ = TempDir();
};

std::string InBytes(uint64_t mib) {
  return std::to_string(mib * kMib);
}

#endif

std::unique_ptr<Model> SmallLlama() {
  return ConvertAndOpen(LlamaFolder({}), DType::kInt8, false);
}

std::string Refusal(const Model& model, const SessionOptions& options, uint64_t free) {
  try {
    CheckMemory(model, options, free);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

#if !defined(_WIN32)
TEST_CASE("a machine gives what is available and its swap") {
  const Machine machine;
  CHECK(FreeMemory(machine.root()) == UINT64_MAX);  // nothing known
  machine.Memory(3000, 0);
  CHECK(machine.FreeMib() == 3000);
  machine.Memory(3000, 500);
  CHECK(machine.FreeMib() == 3500);
  // Before Linux 3.14: free, cached, buffers.
  machine.Write("/proc/meminfo", "MemFree: 1024 kB\nBuffers: 2048 kB\nCached: 4096 kB");
  CHECK(machine.FreeMib() == 7);
  CHECK(FreeMemory() > 0);  // this machine
}

TEST_CASE("cgroup v2: the limit less what cannot be dropped, and the swap that it allows") {
  const Machine machine;
  machine.Memory(8000, 500);
  machine.Group("/a/b", InBytes(2000), 1500, 99);  // 100 of the 1500 are pages of files
  CHECK(machine.FreeMib() == 600 + 500);
  machine.Write("/sys/fs/cgroup/a/b/memory.swap.max", "0");
  CHECK(machine.FreeMib() == 600);
  machine.Write("/sys/fs/cgroup/a/b/memory.swap.max", InBytes(200));
  machine.Write("/sys/fs/cgroup/a/b/memory.swap.current", InBytes(50));
  CHECK(machine.FreeMib() == 750);
  machine.Write("/sys/fs/cgroup/a/b/memory.swap.max", "max");
  CHECK(machine.FreeMib() == 1100);
  // The tightest of the groups; none where there is no limit.
  machine.Group("/a", InBytes(1000), 900, 99);
  CHECK(machine.FreeMib() == 200 + 500);
  machine.Group("/a", "max", 900, 99);
  machine.Group("/a/b", "max", 1500, 99);
  CHECK(machine.FreeMib() == 8500);
  machine.Group("/a/b", InBytes(1000), 1500, 99);  // beyond its limit already
  CHECK(machine.FreeMib() == 500);
}

TEST_CASE("cgroup v1: memory, and memory with swap") {
  const Machine machine;
  machine.Memory(8000, 500);
  machine.Write("/proc/self/mountinfo",
                "32 31 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory");
  machine.Write("/proc/self/cgroup", "4:memory:/box\n1:cpu:/other");
  const std::string folder = "/sys/fs/cgroup/memory/box/memory.";
  machine.Write(folder + "limit_in_bytes", "9223372036854771712");  // none
  machine.Write(folder + "usage_in_bytes", InBytes(1500));
  machine.Write(folder + "stat", "cache 1\ntotal_inactive_file " + InBytes(60) +
                                     "\ntotal_active_file " + InBytes(40));
  CHECK(machine.FreeMib() == 8500);
  machine.Write(folder + "limit_in_bytes", InBytes(2000));
  CHECK(machine.FreeMib() == 1100);
  machine.Write(folder + "memsw.limit_in_bytes", InBytes(2000));
  machine.Write(folder + "memsw.usage_in_bytes", InBytes(1600));
  CHECK(machine.FreeMib() == 500);
}

#endif

TEST_CASE("this machine has memory") {
  CHECK(FreeMemory() > kMib);
}

TEST_CASE("an estimate is what the session then takes") {
  const std::unique_ptr<Model> model = SmallLlama();
  for (size_t kv = 0; kv < kKvTypeCount; ++kv) {
    for (const size_t chunk : {16, 1000}) {
      SessionOptions options;
      options.context = 3000;
      options.kv = static_cast<KvType>(kv);
      options.threads = 3;
      options.chunk = chunk;
      options.max_batch = 4;
      const MemoryEstimate estimate = EstimateMemory(*model, options);
      const Session session(*model, options);
      CHECK(estimate.cache == session.cache_bytes());
      CHECK(estimate.cache_without_windows == estimate.cache);
      CHECK(estimate.activations ==
            session.prompt_plan().arena_bytes() + session.batch_plan().arena_bytes());
      CHECK(estimate.rope_tables == 2 * 3001 * 8 * sizeof(float));
      CHECK(estimate.Total() > estimate.cache + estimate.activations + estimate.rope_tables);
    }
  }
}

TEST_CASE("a causal model's activations hardly grow with the context, another's do") {
  const std::unique_ptr<Model> causal = SmallLlama();
  const std::unique_ptr<Model> prefix =
      ConvertAndOpen(SourceDir() + "/examples/tiny/model", DType::kInt8, false);
  const auto activations = [](const Model& model, size_t context) {
    SessionOptions options;
    options.context = context;
    options.threads = 1;
    return EstimateMemory(model, options).activations;
  };
  // What grows are the states of keys that threads share (lib/ops/attention.cc).
  CHECK(activations(*causal, 64000) - activations(*causal, 1000) < 63000 * 64);
  CHECK(activations(*prefix, 64000) - activations(*prefix, 1000) > 63000 * 1000);
}

TEST_CASE("a session that cannot be filled is refused, with figures and what would fit") {
  const std::unique_ptr<Model> model = SmallLlama();
  SessionOptions options;
  options.context = 2000000;
  options.kv = KvType::kF16;
  options.threads = 1;
  const uint64_t needed = EstimateMemory(*model, options).Total();
  CHECK(Refusal(*model, options, needed).empty());
  CHECK(Refusal(*model, options, UINT64_MAX).empty());
  const std::string text = Refusal(*model, options, 200 * kMib);
  CAPTURE(text);
  for (const char* part : {"needs ", "(cache 488 MiB of 2000000 tokens, activations ",
                           ", rotary tables 122 MiB); this machine has 200 MiB free; a "
                           "context of ",
                           " would fit", "; with a cache in int8 a context of "}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
  // The context that it names fits, and one a little longer does not.
  const size_t longest = LongestContext(*model, options, 200 * kMib);
  CHECK(text.find("context of " + std::to_string(longest) + " ") != std::string::npos);
  options.context = longest;
  CHECK(Refusal(*model, options, 200 * kMib).empty());
  CHECK(LongestContext(*model, options, 200 * kMib) == longest);
  options.context = longest + 300;
  CHECK_FALSE(Refusal(*model, options, 200 * kMib).empty());
  options.kv = KvType::kInt8;
  CHECK(Refusal(*model, options, 200 * kMib).empty());
  options.kv = KvType::kF16;
  CHECK(Refusal(*model, options, 200 * kMib).find("; with a cache in int8 it would fit") !=
        std::string::npos);
}

TEST_CASE("what is small is never refused, and nothing is proposed where nothing fits") {
  const std::unique_ptr<Model> model = SmallLlama();
  SessionOptions options;
  CHECK(EstimateMemory(*model, options).Total() < kAlwaysFits);
  CHECK(Refusal(*model, options, 0).empty());
  CHECK(LongestContext(*model, options, 0) == 0);
  options.context = 1000000;
  CHECK(Refusal(*model, options, 0).find("this machine has 0 MiB free; a context of ") !=
        std::string::npos);
}

TEST_CASE("a private copy of the weights must fit") {
  const std::string path = SourceDir() + "/examples/tiny/tiny.glint";
  LoadOptions options;
  options.mode = LoadMode::kCopy;
  options.copy_limit = ReadFile(path).size();
  CHECK(Model::Open(path, options)->vocab_size() != 0);
  --options.copy_limit;
  CHECK_THROWS_WITH_AS(Model::Open(path, options), doctest::Contains("MiB does not fit into the "),
                       Error);
  options.mode = LoadMode::kMap;
  CHECK(Model::Open(path, options)->vocab_size() != 0);
}
