// A model file that somebody truncates, rewrites or replaces while it is in use: an error that names
// the file, in the program one line and status 3, and never a wrong answer.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include "examples/commands/file_fault.h"
#include "lib/error.h"
#include "lib/generate.h"
#include "lib/session.h"
#include "tests/cli.h"

namespace glint {
namespace {
namespace fs = std::filesystem;
using test::Env;
using test::Glint;
using test::IsProgramThere;
using test::Result;

// Windows refuses to cut, replace or remove what is mapped; what was refused has changed nothing.
#if defined(_WIN32)
constexpr bool kMapsAreKept = true;
#else
constexpr bool kMapsAreKept = false;
#endif

// A private copy of the committed model, which can be harmed.
std::string CopyOfTiny() {
  const std::string path = TempDir() + "/tiny.glint";
  fs::copy_file(SourceDir() + "/examples/tiny/tiny.glint", path);
  return path;
}

SessionOptions Small() {
  SessionOptions options;
  options.context = 64;
  options.threads = 2;
  return options;
}

std::vector<int32_t> Prompt(const Model& model) {
  return model.chat()->Build({{{"user", "What is \"cat\" in Chinese?"}}}, nullptr).ids;
}

std::vector<float> Logits(Session& session) {
  const auto logits = session.logits();
  return {logits.begin(), logits.end()};
}

bool Resize(const std::string& path, uintmax_t bytes) {
  std::error_code error;
  fs::resize_file(path, bytes, error);
  return !error;
}

// Writes one byte in the middle of the file, as an editor or a download that goes on would.
bool RewriteInPlace(const std::string& path) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2));
  return static_cast<bool>(file.put('\x55').flush());
}

bool Touch(const std::string& path) {
  std::error_code error;
  fs::last_write_time(path, fs::last_write_time(path) - std::chrono::seconds(5), error);
  return !error;
}

bool Remove(const std::string& path) {
  std::error_code error;
  return fs::remove(path, error);
}

// The name is no longer that of the open file, whose contents nobody has touched.
bool Replace(const std::string& path) {
  std::ofstream(path + ".new") << "something else";
  std::error_code error;
  fs::rename(path + ".new", path, error);
  return !error;
}

// Each harm that a mapped file can meet and that the next call must report. False: it was refused.
struct Harm {
  const char* name;
  bool (*harm)(const std::string& path);
  bool may_be_refused = false;
};
constexpr Harm kHarms[] = {
    {"truncated", [](const std::string& path) { return Resize(path, fs::file_size(path) / 2); },
     kMapsAreKept},
    {"emptied", [](const std::string& path) { return Resize(path, 0); }, kMapsAreKept},
    {"longer", [](const std::string& path) { return Resize(path, fs::file_size(path) + 1); }},
    {"rewritten", RewriteInPlace},
    {"touched", Touch},
};

TEST_CASE("a mapped file that changes is reported by the next call, whichever it is") {
  for (const Harm& harm : kHarms) {
    CAPTURE(harm.name);
    const std::string path = CopyOfTiny();
    const auto model = Model::Open(path);
    Session started(*model, Small()), fresh(*model, Small()), waiting(*model, Small());
    const std::vector<int32_t> prompt = Prompt(*model);
    REQUIRE(waiting.Start(prompt) == Status::kOk);
    REQUIRE(started.Start(prompt) == Status::kOk);
    const size_t length = started.length();
    if (!harm.harm(path)) {
      CHECK(harm.may_be_refused);
      CHECK(started.Append(5) == Status::kOk);
      continue;
    }
    CHECK(started.Append(5) == Status::kFileChanged);
    CHECK(started.length() == length);
    CHECK(started.Start(prompt) == Status::kFileChanged);
    CHECK(fresh.Start(prompt) == Status::kFileChanged);
    CHECK(Generate(fresh, prompt, {}, {}).status == Status::kFileChanged);
    CHECK(Continue(waiting, -1, {}, {}).status == Status::kFileChanged);
    // The tokenizer's tables lie in the file too.
    Chat chat(fresh);
    CHECK(chat.Ask("What is \"dog\" in Chinese?", {}, {}).status == Status::kFileChanged);
    CHECK(chat.n_turns() == 0);
    const auto begin = [&] { Session again(*model, Small()); };
    CHECK_THROWS_WITH_AS(begin(), doctest::Contains(path.c_str()), Error);
    const auto verify = [&] { model->file().Verify(); };
    CHECK_THROWS_WITH_AS(verify(), doctest::Contains(path.c_str()), Error);
  }
}

TEST_CASE("a file that changes during a call gives no logits") {
  const std::string path = CopyOfTiny();
  const auto model = Model::Open(path);
  SessionOptions options = Small();
  options.max_outputs = 1;
  Session session(*model, options);
  // The sink runs within the call.
  bool harmed = false;
  const auto rewrite = [&](size_t, size_t, const float*, size_t) {
    if (!harmed) harmed = RewriteInPlace(path);
  };
  const OutputSink sink(rewrite);
  CHECK(session.Start(Prompt(*model), &sink) == Status::kFileChanged);
  CHECK(harmed);
  CHECK(session.logits().empty());
  CHECK_THROWS_AS(session.Append(5), Error);  // there is no sequence
}

TEST_CASE("a private copy and a file that was replaced by a rename go on with the same bits") {
  const auto go_on = [](LoadMode mode, bool (*harm)(const std::string& path), bool may_be_refused) {
    const std::string path = CopyOfTiny();
    const auto model = Model::Open(path, mode);
    Session before(*model, Small()), after(*model, Small());
    const std::vector<int32_t> prompt = Prompt(*model);
    REQUIRE(before.Start(prompt) == Status::kOk);
    CHECK((harm(path) || may_be_refused));
    CHECK(Prompt(*model) == prompt);
    REQUIRE(after.Start(prompt) == Status::kOk);
    CHECK(Logits(after) == Logits(before));
    REQUIRE(before.Append(5) == Status::kOk);
    REQUIRE(after.Append(5) == Status::kOk);
    CHECK(Logits(after) == Logits(before));
  };
  for (const Harm& harm : kHarms) go_on(LoadMode::kCopy, harm.harm, false);
  go_on(LoadMode::kCopy, Remove, false);
  go_on(LoadMode::kMap, Replace, kMapsAreKept);
  go_on(LoadMode::kMap, Remove, kMapsAreKept);
}

// The program with a prompt that takes it seconds; `harm` is done to its model meanwhile.
Result RunHarmed(const std::vector<std::string>& more, bool (*harm)(const std::string& path)) {
  const std::string path = CopyOfTiny();
  std::string prompt;
  for (int i = 0; i < 1500; ++i) prompt += "What is cat in Chinese? ";
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    harm(path);
  });
  std::vector<std::string> args = {"generate", path, "-p", "-", "-n", "2", "-c", "16000", "--temp", "0"};
  args.insert(args.end(), more.begin(), more.end());
  const Result result = Glint(args, prompt);
  other.join();
  return result;
}

TEST_CASE("the program ends with one line when its model is cut short under it") {
  if (kMapsAreKept || !IsProgramThere()) return;
  const auto cut_short = [](const std::string& path) { return Resize(path, 4096); };
  const Result cut = RunHarmed({}, cut_short);
  CAPTURE(cut.err);
  CHECK(cut.status == kFileFaultStatus);
  CHECK(cut.err == std::string(kFileFaultLine));
  const Result changed = RunHarmed({}, RewriteInPlace);
  CAPTURE(changed.err);
  CHECK(changed.status == 1);
  CHECK(changed.err.find("tiny.glint: the model file was changed") != std::string::npos);
  const Result copied = RunHarmed({"--load", "copy"}, cut_short);
  CHECK(copied.err == std::string());
  CHECK(copied.status == 0);
}

}  // namespace
}  // namespace glint
