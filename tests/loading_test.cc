// How a program that embeds the library opens models: by path, descriptor and memory, with progress,
// a stop, checksums and a log.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "formats/glint_writer.h"
#include "lib/error.h"
#include "lib/model.h"
#include "lib/session.h"
#include "tests/test_util.h"

using namespace glint;

namespace {

constexpr uint64_t kMib = 1 << 20;

std::string TinyPath() { return SourceDir() + "/examples/tiny/tiny.glint"; }

// The tiny model and 40 MiB that it does not use.
std::string LargeModel() {
  static const std::string path = TempDir() + "/large.glint";
  if (std::filesystem::exists(path)) return path;
  const auto tiny = GlintFile::Open(TinyPath());
  std::vector<TensorPlan> plan;
  for (size_t i = 0; i < tiny->tensors().size(); ++i) {
    const Tensor& tensor = tiny->tensors()[i];
    plan.push_back({tensor.name, tensor.dtype, tensor.offset, tensor.shape, tiny->TiedTo(i)});
  }
  plan.push_back({"unused", DType::kU8, BlockOffset::kNone, {40 * kMib}, ""});
  GlintWriter writer(path, tiny->header(), plan, false);
  for (size_t i = 0; i + 1 < plan.size(); ++i) {
    if (!plan[i].tied_to.empty()) continue;
    writer.Write(i, 0, tiny->tensors()[i].data, tiny->tensors()[i].bytes);
  }
  writer.Finish();
  return path;
}

struct Descriptor {
  explicit Descriptor(const std::string& path, const char* mode = "rb")
      : file(std::fopen(path.c_str(), mode)) {
    REQUIRE(file);
  }
  ~Descriptor() { Close(); }
  void Close() {
    if (file) std::fclose(file);
    file = nullptr;
  }
  int Number() const { return fileno(file); }
  std::FILE* file;
};

}  // namespace

TEST_CASE("progress goes from 0 to 1 in the calling thread, whatever is asked for") {
  const std::string path = LargeModel();
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kCopy}) {
    for (const bool verify : {false, true}) {
      LoadOptions options;
      options.mode = mode;
      options.verify = verify;
      std::vector<double> seen;
      const std::thread::id me = std::this_thread::get_id();
      bool in_thread = true;
      options.progress = [&](double done) {
        in_thread = in_thread && std::this_thread::get_id() == me;
        seen.push_back(done);
        return true;
      };
      CHECK(Model::Open(path, options)->vocab_size() != 0);
      CHECK(in_thread);
      CHECK(std::is_sorted(seen.begin(), seen.end()));
      CHECK(seen.front() == 0);
      CHECK(seen.back() == 1);
      if (verify) CHECK(seen.size() > 40);
    }
  }
}

TEST_CASE("a load is stopped at any call of its progress, and the file can be opened afterwards") {
  const std::string path = LargeModel();
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kCopy}) {
    LoadOptions options;
    options.mode = mode;
    options.verify = true;
    size_t calls = 0, stop_at = SIZE_MAX;
    options.progress = [&](double) { return calls++ < stop_at; };
    for (stop_at = 0; stop_at < 42; stop_at += 3) {
      calls = 0;
      CHECK_THROWS_WITH_AS(Model::Open(path, options), doctest::Contains("loading was stopped"),
                           Cancelled);
      CHECK(calls == stop_at + 1);
    }
    stop_at = SIZE_MAX;
    CHECK(Model::Open(path, options)->vocab_size() != 0);
  }
}

TEST_CASE("a stopped load ends within 50 ms") {
  const std::string path = LargeModel();
  LoadOptions options;
  options.mode = LoadMode::kCopy;
  options.verify = true;
  std::chrono::steady_clock::time_point asked;
  double best = 1e9;
  for (int attempt = 0; attempt < 10; ++attempt) {  // other programs may hold the processors
    options.progress = [&](double done) {
      asked = std::chrono::steady_clock::now();
      return done < 0.1 * attempt;
    };
    CHECK_THROWS_AS(Model::Open(path, options), Cancelled);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - asked;
    best = std::min(best, took.count());
  }
  CHECK(best < 0.05);
}

TEST_CASE("a descriptor stays the caller's, and where it stands does not matter") {
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kCopy}) {
    LoadOptions options;
    options.mode = mode;
    options.verify = true;
    Descriptor descriptor(TinyPath());
    std::fseek(descriptor.file, 1000, SEEK_SET);
    const auto model = Model::OpenDescriptor(descriptor.Number(), "handed in", options);
    CHECK(std::fseek(descriptor.file, 0, SEEK_SET) == 0);  // still open
    char magic[2] = {};
    CHECK(std::fread(magic, 1, 2, descriptor.file) == 2);
    descriptor.Close();
    CHECK(model->file().path() == "handed in");
    CHECK(model->file().Hash() == Model::Open(TinyPath())->file().Hash());
    Session session(*model, {});
    CHECK(session.Start(model->tokenizer()->EncodeWithSpecial("hello")) == Status::kOk);
  }
  CHECK_THROWS_WITH_AS(Model::OpenDescriptor(-1, "nothing"),
                       doctest::Contains("nothing: cannot use the descriptor"), Error);
  const std::string text = TempDir() + "/text";
  WriteFile(text, "no model");
  CHECK_THROWS_WITH_AS(Model::OpenDescriptor(Descriptor(text).Number(), "text"),
                       doctest::Contains("text: "), Error);
  CHECK_THROWS_AS(Model::OpenDescriptor(Descriptor(TempDir() + "/new", "wb").Number(), "write-only"),
                  Error);
}

TEST_CASE("checksums are compared where that is asked for, from memory too") {
  std::string damaged = ReadFile(TinyPath());
  damaged[damaged.size() - 1000] ^= 1;
  const std::string path = TempDir() + "/damaged.glint";
  WriteFile(path, damaged);
  LoadOptions options;
  CHECK(Model::Open(path, options)->vocab_size() != 0);
  CHECK(Model::FromMemory(damaged.data(), damaged.size(), "memory")->vocab_size() != 0);
  options.verify = true;
  CHECK_THROWS_WITH_AS(Model::Open(path, options), doctest::Contains("damaged"), Error);
  CHECK_THROWS_WITH_AS(
      Model::FromMemory(damaged.data(), damaged.size(), "memory", nullptr, options),
      doctest::Contains("memory: tensor "), Error);
}

TEST_CASE("the hash is the file's own and changes with any weight") {
  const uint64_t tiny = GlintFile::Open(TinyPath())->Hash();
  const std::string bytes = ReadFile(TinyPath());
  CHECK(tiny != 0);
  CHECK(GlintFile::FromMemory(bytes.data(), bytes.size(), "memory")->Hash() == tiny);
  CHECK(GlintFile::Open(LargeModel())->Hash() != tiny);
}

TEST_CASE("the log says what was opened, what a session took and why one was refused") {
  std::vector<std::pair<LogLevel, std::string>> lines;
  LoadOptions options;
  options.log = [&](LogLevel level, std::string_view line) { lines.emplace_back(level, line); };
  const auto model = Model::Open(TinyPath(), options);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].first == LogLevel::kInfo);
  CHECK(lines[0].second.find("tiny.glint: ") != std::string::npos);
  CHECK(lines[0].second.find("vocabulary") != std::string::npos);
  SessionOptions session_options;
  session_options.threads = 2;
  { const Session session(*model, session_options); }
  REQUIRE(lines.size() == 2);
  CHECK(lines[1].second.find("2 threads") != std::string::npos);
  CHECK(lines[1].second.find("kernels ") != std::string::npos);
  session_options.context = size_t{1} << 40;
  CHECK_THROWS_AS(Session(*model, session_options), Error);
  REQUIRE(lines.size() == 3);
  CHECK(lines[2].first == LogLevel::kError);
  CHECK_THROWS_AS(Model::Open(TempDir() + "/nowhere.glint", options), Error);
  REQUIRE(lines.size() == 4);
  CHECK(lines[3].second.find("nowhere.glint") != std::string::npos);
}
