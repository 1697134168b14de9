// Replays a corpus: every file of FOLDER/NAME through the target NAME, in a thread with a stack of
// 256 KiB. Every build has it; what the sanitizers of a fuzzing build see, they see here too.
//   fuzz_replay FOLDER          all targets; each must have at least one file
//   fuzz_replay NAME FILE...    one target
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/fuzz/target.h"
#include "tests/stack.h"
#include "tests/test_util.h"

namespace {

namespace fs = std::filesystem;
using namespace glint;

constexpr size_t kStackBytes = 256 << 10;
constexpr double kMostSeconds = 5;

struct Job {
  const fuzz::Target* target;
  std::vector<fs::path> files;
  size_t failed = 0;
};

void Replay(Job* job) {
  for (const fs::path& path : job->files) {
    const std::string bytes = ReadFile(path.string());
    // Exactly as many bytes as there are, so that a sanitizer sees the first beyond.
    const std::vector<uint8_t> input(bytes.begin(), bytes.end());
    const auto begin = std::chrono::steady_clock::now();
    std::string problem;
    try {
      fuzz::RunTarget(job->target->run, input);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    if (time.count() > kMostSeconds) problem = "took " + std::to_string(time.count()) + " s";
    if (problem.empty()) continue;
    std::printf("%s: %s: %s\n", job->target->name, path.string().c_str(), problem.c_str());
    ++job->failed;
  }
}

std::vector<fs::path> FilesIn(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fuzz_replay FOLDER | NAME FILE...\n");
    return 2;
  }
  size_t n_files = 0, n_failed = 0, n_targets = 0;
  for (const fuzz::Target& target : fuzz::Targets()) {
    Job job{&target, {}};
    if (argc == 2) {
      job.files = FilesIn(fs::path(argv[1]) / target.name);
      if (job.files.empty()) {
        std::printf("%s: no corpus\n", target.name);
        ++n_failed;
      }
    } else if (std::strcmp(argv[1], target.name) == 0) {
      job.files.assign(argv + 2, argv + argc);
    }
    if (job.files.empty()) continue;
    if (!test::RunOnStack(kStackBytes, [&] { Replay(&job); })) {
      std::printf("%s: no thread\n", target.name);
      return 1;
    }
    ++n_targets;
    n_files += job.files.size();
    n_failed += job.failed;
  }
  std::printf("%zu inputs of %zu targets, %zu failed\n", n_files, n_targets, n_failed);
  return n_failed == 0 && n_files != 0 ? 0 : 1;
}
