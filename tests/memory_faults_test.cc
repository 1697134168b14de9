// Memory that runs out at every request in turn: an error each time, nothing lost, and what existed
// before still works. While a session runs there is no request at all.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <new>

#include "formats/convert/convert.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/session.h"
#include "lib/session_file.h"
#include "tests/adapter_samples.h"
#include "tests/cli.h"
#include "tests/failing_memory.h"
#include "tests/llama_samples.h"

namespace glint {
namespace {
namespace fs = std::filesystem;
using namespace test;

// tests/nightly.sh asks for every request; CI takes every `stride`-th of long works, from an offset that
// is prime to nothing, so that all kinds of requests are met.
size_t Stride(size_t in_ci) { return Env("GLINT_NIGHTLY").empty() ? in_ci : 1; }

enum class Outcome { kDone, kNoMemory, kOther };

// What `work` ends with when this request fails. Only bad_alloc, or an Error about memory or threads, is
// an answer to that. The message goes to `text`, for which no memory is taken.
Outcome RunWith(const std::function<void()>& work, size_t fail_at, bool goes_on, bool* failed,
                char (&text)[256]) {
  const MemoryScope memory(fail_at, goes_on);
  Outcome outcome = Outcome::kDone;
  text[0] = '\0';
  try {
    work();
  } catch (const std::bad_alloc&) {
    outcome = Outcome::kNoMemory;
  } catch (const std::exception& error) {
    std::snprintf(text, sizeof text, "%s", error.what());
    const bool fits = std::strstr(text, "memory") || std::strstr(text, "threads");
    outcome = fits ? Outcome::kNoMemory : Outcome::kOther;
  }
  *failed = memory.failed();
  return outcome;
}

// Fails each request of `work` in turn, first alone, then with all that follow. `settle` brings what
// outlives a run into one state, so that a leak shows; `after` is called after each failure, with memory
// again.
void FailEach(const std::string& name, size_t stride, const std::function<void()>& work,
              const std::function<void()>& settle, const std::function<void()>& after) {
  CAPTURE(name);
  size_t n_requests = 0;
  {
    work();  // what is made once and kept, such as a locale's facet, is there then
    settle();
    const MemoryScope memory;
    work();
    n_requests = memory.requests();
  }
  size_t n_failed = 0;
  for (const bool goes_on : {false, true}) {
    for (size_t k = 0; k < n_requests; k += stride) {
      settle();
      const Live before = LiveMemory();
      bool failed = false;
      char text[256];
      const Outcome outcome = RunWith(work, k, goes_on, &failed, text);
      if (!failed) continue;  // threads do not always need the same
      ++n_failed;
      settle();
      const Live now = LiveMemory();
      if (outcome == Outcome::kOther || !(now == before)) {
        FAIL(name << ": request " << k << (goes_on ? " and all that follow" : "") << ": " << text << "; "
                  << now.blocks - before.blocks << " blocks and " << now.mapped - before.mapped
                  << " mapped bytes are lost");
      }
      after();
    }
  }
  MESSAGE(name << ": " << n_requests << " requests, " << n_failed << " made to fail");
}

void FailEach(const std::string& name, size_t stride, const std::function<void()>& work,
              const std::function<void()>& after = [] {}) {
  FailEach(name, stride, work, [] {}, after);
}

std::string TinyPath() { return SourceDir() + "/examples/tiny/tiny.glint"; }

// A small model of another kind without a tokenizer.
std::string SmallPath() {
  static std::string path;
  if (!path.empty()) return path;
  ConvertOptions options;
  options.source = LlamaFolder({});
  options.write.output = TempDir() + "/small.glint";
  options.write.threads = 1;
  Convert(options);
  return path = options.write.output;
}

SessionOptions Small(size_t threads) {
  SessionOptions options;
  options.context = 96;
  options.threads = threads;
  options.max_batch = 4;
  return options;
}

TEST_CASE("loading, mapped and copied") {
  const std::string small = SmallPath(), tiny = TinyPath();
  FailEach("open, mapped", Stride(3), [&] { Model::Open(small); });
  FailEach("open, copied", Stride(11), [&] { Model::Open(small, LoadMode::kCopy); });
  FailEach("open with a tokenizer", Stride(61), [&] { Model::Open(tiny); });
}

TEST_CASE("a session, and its first tokens") {
  // A copy: no thread reads ahead, whose memory is given back whenever it ends.
  const auto model = Model::Open(SmallPath(), LoadMode::kCopy);
  const std::vector<int32_t> ids = {1, 90, 17, 5};
  std::vector<float> want;
  {
    Session session(*model, Small(1));
    REQUIRE(session.Start(ids) == Status::kOk);
    want.assign(session.logits().begin(), session.logits().end());
  }
  for (const size_t threads : {1, 3}) {
    const auto run = [&] {
      Session session(*model, Small(threads));
      if (session.Start(ids) != Status::kOk) throw std::runtime_error("Start failed");
      if (session.AppendBatch(std::span(ids).first(2)) != Status::kOk) {
        throw std::runtime_error("AppendBatch failed");
      }
    };
    // The model, which others use, is as it was.
    const auto check = [&] {
      Session session(*model, Small(1));
      REQUIRE(session.Start(ids) == Status::kOk);
      REQUIRE(std::equal(want.begin(), want.end(), session.logits().begin()));
    };
    FailEach(threads == 1 ? "session, 1 thread" : "session, 3 threads", Stride(2), run, check);
  }
}

TEST_CASE("tokens there and back") {
  const auto model = Model::Open(TinyPath());
  const Tokenizer& tokenizer = *model->tokenizer();
  const std::string text = "What is \"cat\" in Chinese? \xe7\x8c\xab\n  \xff<eop>[gMASK]";
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  FailEach("tokenize", 1,
           [&] {
             tokenizer.Encode(text);
             tokenizer.EncodeParsed(text);
             tokenizer.EncodePlain(text);
             Detokenizer detokenizer(tokenizer);
             std::string back;
             for (const int32_t id : ids) back += detokenizer.Add(id);
             back += detokenizer.Finish();
           },
           [&] { REQUIRE(tokenizer.Encode(text) == ids); });
}

TEST_CASE("a chat: what fails is as if it had not been asked") {
  const auto model = Model::Open(TinyPath(), LoadMode::kCopy);
  Session session(*model, Small(2));
  Chat chat(session);
  GenerateOptions options;
  options.max_tokens = 8;
  options.sampler.temperature = 0.8f;
  const std::string first = "What is \"cat\" in Chinese?";
  const Reply want = chat.Ask(first, options, {});
  const size_t history = chat.history().size();
  for (const bool lookup : {false, true}) {
    options.lookup = lookup;
    chat.Clear();
    const auto ask = [&] { chat.Ask(first, options, [](std::string_view) {}); };
    FailEach(lookup ? "chat with look-up" : "chat", Stride(2), ask, [&] { chat.Clear(); }, [&] {
      REQUIRE(chat.n_turns() == 0);
      REQUIRE(chat.Ask(first, options, {}).ids == want.ids);
      REQUIRE(chat.history().size() == history);
    });
  }
}

TEST_CASE("a session is saved and restored") {
  const auto model = Model::Open(SmallPath(), LoadMode::kCopy);
  const std::vector<int32_t> ids = {1, 90, 17, 5};
  Session saved(*model, Small(1)), other(*model, Small(2));
  REQUIRE(saved.Start(ids) == Status::kOk);
  const std::vector<uint8_t> image = SaveSession(saved);
  const std::string path = TempDir() + "/saved", again = TempDir() + "/again";
  SaveSessionFile(saved, path, false);
  FailEach("save", 1, [&] { SaveSession(saved); }, [&] { REQUIRE(SaveSession(saved) == image); });
  FailEach("save to a file", 1, [&] { SaveSessionFile(saved, again, true); }, [&] {
    if (fs::exists(again)) REQUIRE(ReadFile(again) == ReadFile(path));
  });
  CHECK(ReadFile(again) == ReadFile(path));
  // What could not be restored is no sequence at all; then the whole one can.
  const auto check = [&] {
    REQUIRE((other.length() == 0 || SaveSession(other) == image));
    RestoreSession(other, image, "image");
    REQUIRE(SaveSession(other) == image);
  };
  FailEach("restore", 1, [&] { RestoreSession(other, image, "image"); }, check);
  FailEach("restore from a file", 1, [&] { RestoreSessionFile(other, path); }, check);
}

TEST_CASE("adapters are opened and set") {
  const SampleModel sample = GlmSample();
  // A copy: no thread reads ahead, whose memory is given back whenever it ends.
  const auto model = Model::Open(
      ConvertAndOpen(WriteFolder(sample), DType::kInt8, false)->file().path(), LoadMode::kCopy);
  const std::string paths[] = {
      ConvertAdapterAndOpen(*model, WritePrefix(sample.config, MakePrefix(5, 256, 3)))->file().path(),
      ConvertAdapterAndOpen(*model, WriteLora(MakeLora(sample.tensors, {"query_key_value"}, 4, 6, 1)))
          ->file().path()};
  std::vector<AdapterUse> uses;
  std::vector<std::unique_ptr<Adapter>> adapters;
  for (const std::string& path : paths) {
    const std::string bytes = ReadFile(path);
    FailEach("adapter, mapped", Stride(5), [&] { Adapter::Open(*model, path); });
    FailEach("adapter, copied", Stride(23), [&] { Adapter::Open(*model, path, LoadMode::kCopy); });
    FailEach("adapter from memory", Stride(23),
             [&] { Adapter::FromMemory(*model, bytes.data(), bytes.size(), "memory"); });
    adapters.push_back(Adapter::Open(*model, path));
    uses.push_back({adapters.back().get(), 1});
  }
  const std::vector<int32_t> ids = GlmIds(3);
  Session session(*model, Small(2));
  std::vector<float> want(model->n_outputs());
  const auto settle = [&] {
    session.SetAdapters({});
    REQUIRE(session.Start(ids) == Status::kOk);
  };
  settle();
  std::copy(session.logits().begin(), session.logits().end(), want.begin());
  // A set that fails changes nothing: not even the sequence ends.
  bool is_kept = true;
  const auto set = [&] {
    try {
      session.SetAdapters(uses);
    } catch (...) {
      is_kept = is_kept && session.length() == ids.size() &&
                std::equal(want.begin(), want.end(), session.logits().begin());
      throw;
    }
  };
  FailEach("set adapters", Stride(3), set, settle, [&] {
    REQUIRE(is_kept);
    REQUIRE(std::equal(want.begin(), want.end(), session.logits().begin()));
  });
}

// In a child each, since the destructor of nlohmann's JSON asks for memory and ends the process where
// there is none; the importers hold such values. The program then says "out of memory" (examples/glint.cc).
TEST_CASE("convert") {
  const std::string source = LlamaFolder({}), folder = TempDir(), path = folder + "/out.glint";
  ConvertOptions options;
  options.source = source;
  options.write.output = path;
  options.write.overwrite = true;
  options.write.threads = 1;
  size_t n_requests = 0;
  {
    Convert(options);
    const MemoryScope memory;
    Convert(options);
    n_requests = memory.requests();
  }
  fs::remove(path);
  const size_t n_children = Env("GLINT_NIGHTLY").empty() ? 60 : 1000;
  size_t n_aborted = 0;
  for (size_t i = 0; i < n_children; ++i) {
    const size_t k = n_requests * i / n_children;
    const pid_t child = fork();
    if (child == 0) {
      const struct rlimit no_core = {0, 0};
      setrlimit(RLIMIT_CORE, &no_core);
      std::signal(SIGABRT, SIG_DFL);
      std::set_terminate([] { std::abort(); });
      const Live before = LiveMemory();
      bool failed = false;
      char text[256];
      const Outcome outcome = RunWith([&] { Convert(options); }, k, i % 2 == 1, &failed, text);
      _exit(outcome == Outcome::kOther ? 2 : !(LiveMemory() == before) ? 3 : 0);
    }
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CAPTURE(k);
    const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    n_aborted += aborted ? 1 : 0;
    CHECK((aborted || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
    CHECK_FALSE(fs::exists(path));
  }
  MESSAGE("convert: " << n_requests << " requests, " << n_children << " made to fail, " << n_aborted
                      << " of them inside a destructor");
  Convert(options);
  CHECK(FilesIn(folder) == 1);
}

TEST_CASE("the program where there is little memory: one line and status 1, or the right answer") {
  if (!IsProgramThere()) return;
  if (kHasSanitizer) {
    std::printf("not here: limits of addresses (a sanitizer's build)\n");
    return;
  }
  const std::string folder = TempDir(), path = folder + "/out.glint";
  size_t n_refused = 0, n_done = 0;
  // OpenBLAS, which only the converter has, takes memory for its threads before main, and may try for ever.
  for (size_t megabytes = 32; megabytes <= 256 && n_done < 8; megabytes += 2) {
    CAPTURE(megabytes);
    const std::string limit =
        "export OPENBLAS_NUM_THREADS=1; ulimit -v " + std::to_string(megabytes << 10) + "; timeout 60";
    if (Glint({"--version"}, "", limit).status != 0) continue;  // it does not even start
    for (const bool converts : {false, true}) {
      const std::vector<std::string> args =
          converts ? std::vector<std::string>{"convert", TinyFolder(), "-o", path, "-t", "1"}
                   : std::vector<std::string>{"generate", TinyPath(), "-p", "hello", "-n", "3", "-t", "2"};
      const Result result = Glint(args, "", limit);
      CAPTURE(result.err);
      CHECK((result.status == 0 || result.status == 1));
      (result.status == 0 ? n_done : n_refused) += 1;
      if (result.status == 0) CHECK(result.err == std::string());
      if (result.status == 1) {
        CHECK(result.err.starts_with("glint: "));
        CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
        if (converts) CHECK_FALSE(fs::exists(path));
      }
      fs::remove(path);
    }
  }
  MESSAGE(n_refused << " refused, " << n_done << " done");
  CHECK(n_refused > 0);
  CHECK(n_done > 0);
}

TEST_CASE("nothing is requested while a session runs") {
  for (const std::string& path : {SmallPath(), TinyPath()}) {
    const auto model = Model::Open(path);
    std::vector<int32_t> ids = {1, 90, 17, 5};
    if (model->chat()) ids = model->chat()->Build({{{"user", "hello"}}}, nullptr).ids;
    for (const size_t threads : {1, 3}) {
      Session session(*model, Small(threads));
      std::vector<int32_t> two(ids.begin(), ids.begin() + 2);
      bool is_good = true;
      size_t requests = 0;
      {
        MemoryScope memory;
        is_good = is_good && session.Start(ids) == Status::kOk;
        for (int i = 0; i < 10; ++i) is_good = is_good && session.Append(7) == Status::kOk;
        is_good = is_good && session.AppendBatch(two) == Status::kOk;
        session.Truncate(session.length() - 1);
        is_good = is_good && session.Start(ids) == Status::kOk;
        session.Cancel();
        is_good = is_good && session.Append(7) == Status::kCancelled;
        requests = memory.requests();
      }
      CHECK(is_good);
      CHECK(requests == 0);
    }
  }
}

TEST_CASE("sampling requests nothing either") {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 7919 % 1000) * 0.01f;
  Sampler sampler({}, logits.size());
  const int32_t history[] = {3, 5};
  MemoryScope memory;
  for (int i = 0; i < 100; ++i) sampler.Sample(logits, history);
  const size_t requests = memory.requests();
  CHECK(requests == 0);
}

}  // namespace
}  // namespace glint
