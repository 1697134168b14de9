// What a writer leaves behind when it is refused, interrupted, killed or out of space: nothing.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/glint_writer.h"

#include <doctest/doctest.h>
#if !defined(_WIN32)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "formats/output_file.h"
#include "lib/error.h"
#include "tests/glint_samples.h"
#include "tests/system.h"
#include "tests/test_util.h"

namespace glint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

size_t FilesIn(const std::string& folder) {
  size_t n = 0;
  for (const auto& entry : fs::directory_iterator(folder)) n += !entry.path().empty();
  return n;
}

std::string Refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

#if !defined(_WIN32)  // which has no fork
// Runs `action` in a child process; returns its wait status. The child leaves without destructors.
int InChild(const std::function<void()>& action) {
  const pid_t pid = fork();
  if (pid == 0) {
    try {
      action();
    } catch (const Error&) {
      _exit(1);
    } catch (...) {
      _exit(2);
    }
    _exit(0);
  }
  int status = -1;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}
#endif

void CheckPlanRefused(const char* what, const std::function<void(Sample*)>& edit,
                      const char* place) {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  Sample sample = SampleModel();
  edit(&sample);
  const std::string message =
      Refusal([&] { GlintWriter(path, sample.header, sample.plan, false); });
  CAPTURE(std::string(what));
  CAPTURE(message);
  CHECK(message.rfind(path, 0) == 0);
  CHECK(message.find(place) != std::string::npos);
  CHECK(FilesIn(folder) == 0);
}

TEST_CASE("a plan that the reader would refuse is refused before anything is written") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CheckPlanRefused(
      "name twice", [](Sample* s) { s->plan[3].name = "half"; }, "'half': appears twice");
  CheckPlanRefused(
      "bad name", [](Sample* s) { s->plan[3].name = "a b"; }, "name of a tensor");
  CheckPlanRefused(
      "no shape", [](Sample* s) { s->plan[3].shape = {}; }, "'layer.int4'");
  CheckPlanRefused(
      "rank 3",
      [](Sample* s) {
        s->plan[3].shape = {2, 2, 2};
      },
      "'layer.int4'");
  CheckPlanRefused(
      "vector of int4", [](Sample* s) { s->plan[3].shape = {32}; }, "no tensor int4 (32)");
  CheckPlanRefused(
      "no rows",
      [](Sample* s) {
        s->plan[3].shape = {0, 32};
      },
      "no tensor int4 (0, 32)");
  CheckPlanRefused(
      "overflow",
      [](Sample* s) {
        s->plan[3].shape = {1ull << 40, 1ull << 40};
      },
      "int4");
  CheckPlanRefused(
      "tied to later", [](Sample* s) { s->plan[1].tied_to = "half"; }, "tied to 'half'");
  CheckPlanRefused(
      "unknown input", [](Sample* s) { s->header.graphs[0].nodes[1].inputs[0] = std::string("w"); },
      "input 'w'");
  CheckPlanRefused(
      "nan attribute", [&](Sample* s) { s->header.graphs[0].nodes[0].attributes["a"] = nan; },
      "graph 'main': node 0: attribute 'a'");
  CheckPlanRefused(
      "nan in config", [&](Sample* s) { (*s->header.config)["norm_eps"] = nan; },
      "'config' cannot be");
  CheckPlanRefused(
      "invalid UTF-8", [](Sample* s) { (*s->header.metadata)["name"] = "\xff"; },
      "not valid UTF-8");
  CheckPlanRefused(
      "config no object", [](Sample* s) { *s->header.config = json::array(); }, "'config'");
  CheckPlanRefused(
      "header too long",
      [](Sample* s) { (*s->header.metadata)["name"] = std::string(17 << 20, 'a'); },
      "header: at most");
  CheckPlanRefused(
      "more than the disk holds", [](Sample* s) { s->plan[13].shape = {uint64_t{1} << 50}; },
      "not enough space: needs 1073741");
}

TEST_CASE("pieces outside their tensor are refused") {
  const std::string path = TempDir() + "/out.glint";
  const Sample sample = SampleModel();
  GlintWriter writer(path, sample.header, sample.plan, false);
  CHECK(writer.TensorSize(2) == 20);
  const std::string data(64, 'x');
  CHECK(Refusal([&] { writer.Write(2, 0, data.data(), 21); }).find("'layer.bias'") !=
        std::string::npos);
  CHECK(Refusal([&] { writer.Write(2, 21, data.data(), 0); }).find("'layer.bias'") !=
        std::string::npos);
  CHECK(Refusal([&] { writer.Write(2, UINT64_MAX, data.data(), 2); }).find("do not fit") !=
        std::string::npos);
  CHECK(Refusal([&] { writer.Write(2, 2, data.data(), UINT64_MAX); }).find("do not fit") !=
        std::string::npos);
  CHECK(Refusal([&] { writer.Write(1, 0, data.data(), 1); }).find("is tied") != std::string::npos);
  CHECK(Refusal([&] { writer.Write(99, 0, data.data(), 1); }).find("no tensor 99") !=
        std::string::npos);
  writer.Write(2, 20, data.data(), 0);
  writer.Finish();
  CHECK(Refusal([&] { writer.Finish(); }).find("finished twice") != std::string::npos);
  CHECK(Refusal([&] { writer.Write(2, 0, data.data(), 1); }).find("finished") != std::string::npos);
  // What was never written is zero.
  const auto file = GlintFile::Open(path);
  file->Verify();
  for (size_t i = 0; i < 20; ++i) CHECK(file->Find("layer.bias")->data[i] == 0);
}

TEST_CASE("pieces from several threads") {
  const std::string path = TempDir() + "/out.glint";
  const size_t size = 1 << 20;
  GlintWriter writer(path, ModelHeader(), {{"t", DType::kU8, BlockOffset::kNone, {size}, ""}},
                     false);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&writer, t] {
      for (size_t at = t * 1024; at < size; at += 4 * 1024) {
        const std::string piece(1024, static_cast<char>('a' + at / 1024 % 26));
        writer.Write(0, at, piece.data(), piece.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  writer.Finish();
  const auto file = GlintFile::Open(path);
  file->Verify();
  size_t wrong = 0;
  for (size_t i = 0; i < size; ++i) wrong += file->Find("t")->data[i] != 'a' + i / 1024 % 26;
  CHECK(wrong == 0);
}

TEST_CASE("an existing file is kept unless overwriting was asked for") {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  WriteFile(path, "precious");
  const Sample sample = SampleModel();
  CHECK(Refusal([&] { WriteSample(sample, path); }) == path + ": exists already");
  CHECK(ReadFile(path) == std::string("precious"));
  {
    GlintWriter abandoned(path, sample.header, sample.plan, true);
    abandoned.Write(2, 0, "1234", 4);
    CHECK(FilesIn(folder) == 2);
  }
  CHECK(ReadFile(path) == std::string("precious"));
  CHECK(FilesIn(folder) == 1);
  WriteSample(sample, path, true);
  GlintFile::Open(path)->Verify();
  CHECK(FilesIn(folder) == 1);
}

TEST_CASE("a file that appears while writing is not replaced") {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  const Sample sample = SampleModel();
  {
    GlintWriter writer(path, sample.header, sample.plan, false);
    WriteFile(path, "precious");
    CHECK(Refusal([&] { writer.Finish(); }) == path + ": exists already");
  }
  CHECK(ReadFile(path) == std::string("precious"));
  CHECK(FilesIn(folder) == 1);
}

TEST_CASE("paths that cannot be written") {
  const std::string folder = TempDir();
  const auto refusal = [](const std::string& path) {
    return Refusal([&path] { OutputFile(path, true); });
  };
  CHECK(refusal(folder).find("is a folder") != std::string::npos);
  CHECK(refusal(folder + "/").find("not a file name") != std::string::npos);
  CHECK(refusal("").find("not a file name") != std::string::npos);
  CHECK(refusal(folder + "/none/out").find("cannot open its folder") != std::string::npos);
  for (const std::string& other : test::NoRegularFiles(folder, "pipe")) {
    CHECK(refusal(other).find("not a regular file") != std::string::npos);
  }
  fs::remove(folder + "/pipe");
  {
    OutputFile first(folder + "/out", false);
    CHECK(refusal(folder + "/out").find("is being written") != std::string::npos);
    CHECK(FilesIn(folder) == 1);
  }
  CHECK(FilesIn(folder) == 0);
}

#if !defined(_WIN32)
TEST_CASE("a killed writer leaves no file under the name, and the next one cleans up") {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  const Sample sample = SampleModel();
  for (const int signal : {SIGKILL, SIGABRT}) {
    const int status = InChild([&] {
      GlintWriter writer(path, sample.header, sample.plan, false);
      writer.Write(2, 0, "1234", 4);
      const struct rlimit no_core = {0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      std::signal(SIGABRT, SIG_DFL);
      raise(signal);
    });
    CHECK(WIFSIGNALED(status));
    CHECK_FALSE(fs::exists(path));
    CHECK(FilesIn(folder) == 1);
  }
  // Other files beside it, even if named alike, are not ours to remove.
  const char* const others[] = {".out.glint.tmp-", ".out.glint.tmp-12x", "out.glint.tmp-1",
                                ".x.tmp-1"};
  for (const char* name : others) WriteFile(folder + "/" + name, "other");
  WriteSample(sample, path);
  GlintFile::Open(path)->Verify();
  CHECK(FilesIn(folder) == 5);
}

TEST_CASE("the temporary file of a living writer is left alone") {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  const Sample sample = SampleModel();
  GlintWriter writer(path, sample.header, sample.plan, true);
  const int status = InChild([&] { WriteSample(sample, path, true); });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(FilesIn(folder) == 2);
  writer.Finish();
  GlintFile::Open(path)->Verify();
  CHECK(FilesIn(folder) == 1);
}

TEST_CASE("a full disk is an error that leaves nothing") {
  const std::string folder = TempDir();
  const std::string path = folder + "/out.glint";
  const Sample sample = SampleModel();
  // The limit on a file's size stands for the disk. Each place where it can strike, in a child.
  const auto limited = [](uint64_t bytes, const std::function<void()>& action) {
    return InChild([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const struct rlimit limit = {bytes, bytes};
      setrlimit(RLIMIT_FSIZE, &limit);
      action();
    });
  };
  for (const uint64_t bytes : {0, 1, 4096, 8192, 10000}) {
    const int status = limited(bytes, [&] { WriteSample(sample, path); });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
    CHECK(FilesIn(folder) == 0);
  }
  const int status = limited(100, [&] {
    OutputFile file(path, false);
    const std::string data(200, 'x');
    file.WriteAt(0, data.data(), data.size());
    file.Commit();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(FilesIn(folder) == 0);
}

TEST_CASE("a relative path without folder") {
  const std::string folder = TempDir();
  const int status = InChild([&] {
    if (chdir(folder.c_str()) != 0) _exit(3);
    WriteSample(SampleModel(), "here.glint");
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  GlintFile::Open(folder + "/here.glint")->Verify();
}

#else
TEST_CASE("what is not tried on Windows") {
  std::printf("skipped on Windows: killed writers, a full disk (no fork, no limit of a file's size)\n");
}
#endif

TEST_CASE("the same file is known by any of its names") {
  const std::string folder = TempDir();
  WriteFile(folder + "/a", "1");
  WriteFile(folder + "/b", "1");
#if !defined(_WIN32)
  fs::create_symlink("a", folder + "/soft");
  CHECK(SameFile(folder + "/a", folder + "/soft"));
#endif
  fs::create_hard_link(folder + "/a", folder + "/hard");
  CHECK(SameFile(folder + "/a", folder + "/a"));
  CHECK(SameFile(folder + "/a", folder + "/./a"));
  CHECK(SameFile(folder + "/a", folder + "/hard"));
  CHECK_FALSE(SameFile(folder + "/a", folder + "/b"));
  CHECK_FALSE(SameFile(folder + "/a", folder + "/none"));
  CHECK_FALSE(SameFile(folder + "/none", folder + "/none"));
}

TEST_CASE("text from a file is safe to print") {
  CHECK(Quoted("plain \u4f60\u597d") == std::string("'plain \u4f60\u597d'"));
  CHECK(Quoted("a\n\x1b[0m\x7f") == std::string("'a\\x0a\\x1b[0m\\x7f'"));
  CHECK(Quoted("\xff\xc0\xaf\xed\xa0\x80") == std::string("'\\xff\\xc0\\xaf\\xed\\xa0\\x80'"));
  CHECK(Quoted("\xc2\x9b"
               "31m") == std::string("'\\xc2\\x9b"
                                     "31m'"));
  CHECK(Quoted("\u202e") == std::string("'\\xe2\\x80\\xae'"));
  CHECK(Quoted("\xe4\xbd") == std::string("'\\xe4\\xbd'"));
  const std::string as(199, 'a');
  CHECK(Quoted(as + "b") == std::string("'").append(as).append("b'"));
  CHECK(Quoted(as + "bc") == std::string("'").append(as).append("b'..."));
  CHECK(Quoted(as + "\u4f60") == std::string("'").append(as).append("'..."));
}

}  // namespace
}  // namespace glint
