// Real control groups: what they grant is what the library takes by default. default_threads_test and
// memory_test have made-up ones of every form.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>

#include "lib/error.h"
#include "lib/session.h"
#include "lib/system/cgroup.h"
#include "lib/system/default_threads.h"
#include "lib/system/free_memory.h"
#include "lib/thread_pool.h"
#include "tests/cli.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

namespace glint {
namespace {
namespace fs = std::filesystem;
using namespace test;

bool Put(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_done = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  return close(fd) == 0 && is_done;
}

// A group of one controller, removed at the end.
class Group {
 public:
  // Below the folder `parent`; there() is false if the system does not let us.
  Group(const std::string& parent, const std::string& controller)
      : folder_(parent + "/glint-test-" + std::to_string(getpid())) {
    if (parent.empty() || mkdir(folder_.c_str(), 0755) != 0) return;
    made_ = true;
    is_v2_ = fs::exists(folder_ + "/" + controller + ".max");
    there_ = is_v2_ || fs::exists(folder_ + "/" + (controller == "cpu" ? "cpu.cfs_quota_us"
                                                                      : "memory.limit_in_bytes"));
  }
  ~Group() {
    for (int i = 0; made_ && rmdir(folder_.c_str()) != 0 && i < 100; ++i) usleep(10000);
  }
  Group(const Group&) = delete;
  bool there() const { return there_; }

  // Processors; 0: no limit.
  bool LimitCpu(double cpus) const {
    const std::string quota = std::to_string(static_cast<int>(cpus * 100000));
    if (is_v2_) return Put(folder_ + "/cpu.max", (cpus > 0 ? quota : "max") + " 100000");
    return Put(folder_ + "/cpu.cfs_period_us", "100000") &&
           Put(folder_ + "/cpu.cfs_quota_us", cpus > 0 ? quota : "-1");
  }
  bool LimitMemory(uint64_t bytes) const {
    if (!is_v2_) return Put(folder_ + "/memory.limit_in_bytes", std::to_string(bytes));
    Put(folder_ + "/memory.swap.max", "0");  // not there without swap
    return Put(folder_ + "/memory.max", std::to_string(bytes));
  }

  // What `fn` returns in a child process inside the group; -1: it did not end by itself.
  int Run(const std::function<int()>& fn) const {
    const pid_t child = fork();
    if (child == 0) {
      int result = 99;
      try {
        if (Put(folder_ + "/cgroup.procs", std::to_string(getpid()))) result = fn();
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        result = 98;
      }
      _exit(result);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  std::string folder_;
  bool made_ = false, is_v2_ = false, there_ = false;
};

// The folder of this process's group, if that is the hierarchy's root, in which anybody's groups lie;
// else empty: a group that somebody put us into is left alone.
std::string RootGroup(const std::string& controller) {
  std::ifstream groups("/proc/self/cgroup");
  bool is_root = false;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_ours = names == ",," || names.find("," + controller + ",") != std::string::npos;
    if (is_ours && line.substr(second + 1) != "/") return "";
    is_root = is_root || is_ours;
  }
  if (!is_root) return "";
  for (const std::string& folder : CgroupFolders("", controller)) {
    if (fs::exists(folder + "/cpu.cfs_quota_us") || fs::exists(folder + "/cpu.shares")) return folder;
    const std::string granted = " " + FirstLine(folder + "/cgroup.subtree_control") + " ";
    if (granted.find(" " + controller + " ") != std::string::npos) return folder;
  }
  return "";
}

TEST_CASE("default threads are those that a real group grants") {
  const Group group(RootGroup("cpu"), "cpu");
  if (!group.there()) {
    std::printf("not here: a real cpu group (none can be made)\n");
    return;
  }
  const size_t all = DefaultThreads();
  const auto threads = [&](double cpus) {
    if (!group.LimitCpu(cpus)) return -2;
    return group.Run([] { return static_cast<int>(DefaultThreads()); });
  };
  CHECK(threads(0) == static_cast<int>(all));
  CHECK(threads(0.5) == 1);
  CHECK(threads(1) == 1);
  CHECK(threads(2) == static_cast<int>(std::min<size_t>(all, 2)));
  CHECK(threads(1000) == static_cast<int>(all));
  REQUIRE(group.LimitCpu(3));
  CHECK(group.Run([] { return static_cast<int>(QuotaCpus("")); }) == 3);
  // Those that a session and the program take.
  REQUIRE(group.LimitCpu(1));
  const std::string tiny = SourceDir() + "/examples/tiny/tiny.glint";
  CHECK(group.Run([&] {
    const auto model = Model::Open(tiny);
    SessionOptions options;
    options.context = 64;
    return static_cast<int>(Session(*model, options).pool().size());
  }) == 1);
}

// GLINT_MEMORY_CGROUP names the folder of a group in which groups that limit memory may be made.
TEST_CASE("a model that is larger than its group's memory") {
  const Group group(Env("GLINT_MEMORY_CGROUP"), "memory");
  if (!group.there()) {
    std::printf("not here: a real memory group (GLINT_MEMORY_CGROUP names one to make it in)\n");
    return;
  }
  LlamaShape shape;
  shape.vocab_size = 40000;
  shape.dim = 256;
  const auto model = ConvertAndOpen(LlamaFolder(shape), DType::kF16, false);
  const std::string path = model->file().path();
  const uint64_t limit = fs::file_size(path) * 2 / 3;
  SessionOptions options;
  options.context = 32;
  const std::vector<int32_t> ids = {1, 90, 17, 5};
  const auto logits = [&](const Model& from) {
    Session session(from, options);
    if (session.Start(ids) != Status::kOk) throw Error("Start failed");
    for (const int32_t id : ids) {
      if (session.Append(id) != Status::kOk) throw Error("Append failed");
    }
    return std::vector<float>(session.logits().begin(), session.logits().end());
  };
  const std::vector<float> want = logits(*model);
  // Pages that are there already would cost the group nothing.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fsync(fd) == 0);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
  REQUIRE(group.LimitMemory(limit));
  CHECK(group.Run([&] { return FreeMemory() <= limit ? 0 : 1; }) == 0);
  CHECK(group.Run([&] { return logits(*Model::Open(path)) == want ? 0 : 1; }) == 0);
  CHECK(group.Run([&] {
    try {
      Model::Open(path, LoadMode::kCopy);
    } catch (const Error&) {
      return 0;
    }
    return 1;
  }) == 0);
}

}  // namespace
}  // namespace glint
