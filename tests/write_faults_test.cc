// Files that are written while the disk fails, fills up or loses its power, and while somebody kills the
// writer: under the final name there is the old file or the complete new one, never anything else.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <thread>

#include "formats/convert/convert.h"
#include "formats/glint_file.h"
#include "formats/output_file.h"
#include "lib/error.h"
#include "lib/session_file.h"
#include "tests/cli.h"
#include "tests/glint_samples.h"
#include "tests/llama_samples.h"
#include "tests/power_loss.h"

namespace glint {
namespace {
namespace fs = std::filesystem;
using namespace test;

// tests/nightly.sh asks for the long forms.
bool IsNightly() { return !Env("GLINT_NIGHTLY").empty(); }

// All that makes a file, the same bytes each time.
struct Writing {
  const char* name;
  std::function<void(const std::string& path, bool overwrite)> write;
  std::function<void(const std::string& path)> verify = [](const std::string& path) {
    GlintFile::Open(path)->Verify();
  };
};

Writing SavedSession(const std::string& llama) {
  ConvertOptions options;
  options.source = llama;
  options.write.output = TempDir() + "/model.glint";
  Convert(options);
  const std::shared_ptr<const Model> model = Model::Open(options.write.output);
  SessionOptions small;
  small.context = 64;
  small.threads = 1;
  const auto session = std::make_shared<Session>(*model, small);
  REQUIRE(session->Start(std::vector<int32_t>{1, 90, 17, 5}) == Status::kOk);
  // The session goes before its model.
  return {"a saved session",
          [model, session](const std::string& path, bool overwrite) {
            SaveSessionFile(*session, path, overwrite);
          },
          [model, small](const std::string& path) {
            Session restored(*model, small);
            RestoreSessionFile(restored, path);
          }};
}

std::vector<Writing> Writings() {
  const std::string llama = LlamaFolder({});
  return {{"the writer of .glint files",
           [](const std::string& path, bool overwrite) { WriteSample(SampleModel(), path, overwrite); }},
          {"convert", [llama](const std::string& path, bool overwrite) {
             ConvertOptions options;
             options.source = llama;
             options.write.output = path;
             options.write.overwrite = overwrite;
             options.write.threads = 1;
             options.has_type = true;
             options.type = DType::kInt8;
             options.search = false;  // quick
             Convert(options);
           }},
          SavedSession(llama)};
}

std::string Complete(const Writing& writing) {
  const std::string path = TempDir() + "/out.glint";
  writing.write(path, false);
  return ReadFile(path);
}

// The message of the Error that writing ended with; empty: none.
std::string Try(const Writing& writing, const std::string& path, bool overwrite) {
  try {
    writing.write(path, overwrite);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("whichever call fails, the name leads to the old file or to the complete new one") {
  const std::string old = "the old file";
  for (const Writing& writing : Writings()) {
    const std::string complete = Complete(writing), folder = TempDir();
    const std::string path = folder + "/out.glint";
    std::set<std::string> failed;
    for (const bool exists : {false, true}) {
      for (size_t n = 0;; ++n) {
        CAPTURE(writing.name);
        CAPTURE(n);
        if (exists) WriteFile(path, old);
        std::string name, message;
        {
          IoShim shim(folder);
          shim.FailCall(n, n % 2 == 0 ? ENOSPC : EIO);
          message = Try(writing, path, exists);
          name = shim.failed();
        }
        if (name.empty()) break;  // fewer calls than n
        failed.insert(name);
        CAPTURE(name);
        if (!message.empty()) CHECK(message.starts_with(path + ": "));
        const bool is_there = fs::exists(path);
        const std::string found = is_there ? ReadFile(path) : "";
        CHECK((found == complete || (exists ? found == old : !is_there)));
        CHECK((!message.empty() || found == complete));
        // Whatever stayed beside it, the next run removes and succeeds
        // (its temporary file has our process id, and is found abandoned all the same).
        if (n % 4 == 0 || FilesIn(folder) != (is_there ? 1 : 0)) {
          CHECK(Try(writing, path, true).empty());
          CHECK(ReadFile(path) == complete);
          CHECK(FilesIn(folder) == 1);
        }
        fs::remove(path);
      }
    }
    for (const char* name : {"open", "fallocate", "ftruncate", "pwrite", "fsync", "close"}) {
      CAPTURE(name);
      CHECK(failed.count(name) == 1);
    }
    CHECK(failed.count("rename") + failed.count("link") == 2);
  }
}

TEST_CASE("a folder that may not be written to, a full disk, a file system that lacks calls") {
  const Writing writing = Writings()[0];
  const std::string complete = Complete(writing), folder = TempDir(), path = folder + "/out.glint";
  const auto failing = [&](const char* name, int error) {
    IoShim shim(folder);
    shim.FailAll(name, error);
    return Try(writing, path, false);
  };
  const std::pair<int, const char*> kRefused[] = {
      {EROFS, "Read-only file system"}, {EACCES, "Permission denied"}, {ENOSPC, "No space left"}};
  for (const auto& [error, text] : kRefused) {
    const std::string message = failing("open", error);
    CHECK(message.find("cannot create a file beside it: ") != std::string::npos);
    CHECK(message.find(text) != std::string::npos);
  }
  for (const char* name : {"fallocate", "pwrite", "ftruncate"}) {
    CHECK(failing(name, ENOSPC).find("No space left") != std::string::npos);
  }
  CHECK(FilesIn(folder) == 0);
  // Without locks, reservation or hard links it goes on as well as it can.
  for (const auto& [name, error] :
       {std::pair("fallocate", EOPNOTSUPP), std::pair("flock", ENOLCK), std::pair("link", EPERM)}) {
    CAPTURE(name);
    CHECK(failing(name, error).empty());
    CHECK(ReadFile(path) == complete);
    CHECK(FilesIn(folder) == 1);
    fs::remove(path);
  }
}

TEST_CASE("writes that are interrupted or come through in part are gone on with") {
  for (const Writing& writing : Writings()) {
    const std::string folder = TempDir(), path = folder + "/out.glint";
    IoShim shim(folder);
    shim.CutWrites();
    CHECK(Try(writing, path, false).empty());
    CHECK(ReadFile(path) == Complete(writing));
  }
}

// What is under the name after the power was cut behind any call of a recorded run, as often as
// `n_random` with a random part of what was not synced. The first finding that is neither `old` nor
// `complete`, in words; empty: there is none. *is_new: how often it was the new one.
std::string CheckPowerLoss(const PowerLoss& disk, const std::string& path, const std::string& old,
                           const std::string& complete, size_t n_random, size_t* is_new) {
  std::mt19937_64 random(1);
  const auto check = [&](size_t n, const std::function<bool()>& keeps) -> std::string {
    const auto files = disk.After(n, keeps);
    const auto found = files.find(path);
    const std::string bytes = found == files.end() ? "" : found->second;
    if (bytes == complete) {
      ++*is_new;
      return "";
    }
    if (bytes == old) return "";
    return "after " + std::to_string(n) + " calls: " + std::to_string(bytes.size()) + " bytes";
  };
  for (size_t n = 0; n <= disk.n_events(); ++n) {
    std::string bad = check(n, [] { return false; });
    if (bad.empty()) bad = check(n, [] { return true; });
    for (size_t i = 0; bad.empty() && i < n_random; ++i) {
      const uint64_t odds = 1 + random() % 15;  // of 16
      bad = check(n, [&] { return random() % 16 < odds; });
    }
    if (!bad.empty()) return bad;
  }
  return "";
}

TEST_CASE("after a loss of power the name leads to the old file or to the complete new one") {
  for (const Writing& writing : Writings()) {
    for (const bool exists : {false, true}) {
      const std::string folder = TempDir(), path = folder + "/out.glint";
      const std::string old = exists ? "the old file" : "";
      std::map<std::string, std::string> before;
      if (exists) WriteFile(path, before[path] = old);
      IoShim shim(folder);
      writing.write(path, exists);
      const std::string complete = ReadFile(path);
      writing.verify(path);
      size_t is_new = 0;
      const PowerLoss disk(shim.events(), before);
      const size_t n_random = IsNightly() ? 200 : 4;
      CHECK(CheckPowerLoss(disk, path, old, complete, n_random, &is_new) == std::string());
      CHECK(is_new > 0);
      // When the run has ended nothing can be lost.
      CHECK(disk.After(disk.n_events(), [] { return false; }).at(path) == complete);
    }
  }
}

TEST_CASE("the replay finds a writer that syncs too late, or never") {
  // The same calls with one left out or moved: what a careless writer would have done.
  const std::string folder = TempDir(), path = folder + "/out.glint";
  std::vector<IoEvent> events;
  {
    IoShim shim(folder);
    WriteSample(SampleModel(), path);
    events = shim.events();
  }
  const std::string complete = ReadFile(path);
  size_t is_new = 0;
  const auto finding = [&](const std::vector<IoEvent>& changed) {
    return CheckPowerLoss(PowerLoss(changed, {}), path, "", complete, 50, &is_new);
  };
  CHECK(finding(events) == std::string());
  const auto of_kind = [](IoEvent::Kind kind) {
    return [kind](const IoEvent& event) { return event.kind == kind; };
  };
  std::vector<IoEvent> never = events;
  std::erase_if(never, of_kind(IoEvent::kSync));
  CHECK(finding(never) != std::string());
  std::vector<IoEvent> late = never;
  late.push_back(*std::find_if(events.begin(), events.end(), of_kind(IoEvent::kSync)));
  CHECK(finding(late) != std::string());
  std::vector<IoEvent> names = events;
  std::erase_if(names, of_kind(IoEvent::kSyncFolder));
  const PowerLoss lost(names, {});
  CHECK(lost.After(lost.n_events(), [] { return false; }).count(path) == 0);
}

// --- the program ---

TEST_CASE("convert that is killed at any moment leaves no file under the name, and the next cleans up") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), path = folder + "/out.glint", source = TinyFolder();
  const std::string program = Env("GLINT_BIN");
  std::mt19937_64 random(std::random_device{}());
  const int rounds = IsNightly() ? 400 : 10;
  const auto begin = std::chrono::steady_clock::now();
  test::Output({"convert", source, "-o", path});
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin).count();
  size_t n_killed = 0;
  for (int i = 0; i < rounds; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, 1);
      dup2(null, 2);
      execl(program.c_str(), "glint", "convert", source.c_str(), "-o", path.c_str(), "--force", nullptr);
      _exit(127);
    }
    REQUIRE(child > 0);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<uint64_t>(whole)));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    n_killed += WIFSIGNALED(status) ? 1 : 0;
    if (!fs::exists(path)) continue;
    GlintFile::Open(path)->Verify();
    if (i % 2 == 0) fs::remove(path);
  }
  MESSAGE("killed " << n_killed << " of " << rounds);
  CHECK(n_killed > 0);
  test::Output({"convert", source, "-o", path, "--force"});
  CHECK(FilesIn(folder) == 1);
}

TEST_CASE("the program on a full disk") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), path = folder + "/out.glint";
  for (const char* limit : {"ulimit -f 0;", "ulimit -f 8;", "ulimit -f 900;"}) {
    // A limit of 0 would also cut what is written to standard error, which is a file here.
    const Result result = Glint({"convert", TinyFolder(), "-o", path}, "", limit);
    CHECK(result.status == 1);
    CHECK(FilesIn(folder) == 0);
  }
  CheckFails(1, {"convert", TinyFolder(), "-o", "/dev/full"}, {"/dev/full: ", "not a regular file"});
  CheckFails(1, {"convert", TinyFolder(), "-o", "/dev/full", "--force"}, {"not a regular file"});
  CHECK(RunProgram({{Env("GLINT_BIN"), "info", TinyModel()}, "", "/dev/null", "/dev/full",
                    folder + "/err"}) == 1);
  CHECK(ReadFile(folder + "/err").find("standard output: cannot write") != std::string::npos);
}

TEST_CASE("an output that would replace its own source is refused, by whatever name") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), model = folder + "/m.glint";
  fs::copy_file(TinyModel(), model);
  fs::create_hard_link(model, folder + "/hard.glint");
  fs::create_symlink("m.glint", folder + "/soft.glint");
  const std::string before = ReadFile(model);
  for (const char* name : {"/m.glint", "/./m.glint", "/hard.glint", "/soft.glint"}) {
    CheckFails(1, {"convert", model, "-o", folder + name, "--force"}, {"is the source itself"});
  }
  CHECK(ReadFile(model) == before);
  CHECK(FilesIn(folder) == 3);
}

// Root may write everywhere, so the program runs as nobody there.
TEST_CASE("a model in a folder that may not be written to runs, without a home and a place for caches") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), model = folder + "/m.glint";
  fs::copy_file(SourceDir() + "/examples/tiny/tiny.glint", model);
  fs::permissions(model, fs::perms(0444));
  fs::permissions(folder, fs::perms(0555));
  const std::string nobody = geteuid() == 0 ? "setpriv --reuid 65534 --regid 65534 --clear-groups " : "";
  const std::string environment = "cd " + folder + "; env -i " + nobody;
  const Result result = Glint({"generate", model, "-p", "hello", "-n", "4", "--temp", "0"}, "", environment);
  CHECK(result.err == std::string());
  CHECK(result.status == 0);
  CHECK(FilesIn(folder) == 1);
  if (geteuid() != 0 || std::system("setpriv --reuid 65534 true 2> /dev/null") == 0) {
    CheckFails(1, {"convert", model, "-o", folder + "/out.glint", "--type", "int4"},
               {"out.glint: cannot create a file beside it: Permission denied"}, "", environment);
  }
  CHECK(FilesIn(folder) == 1);
  fs::permissions(folder, fs::perms(0755));
}

TEST_CASE("models that are no regular files, and paths that are no UTF-8") {
  if (!IsProgramThere()) return;
  const std::string folder = TempDir(), pipe = folder + "/pipe.glint";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const char* command : {"verify", "info", "generate"}) {
    std::vector<std::string> more;
    if (command == std::string("generate")) more = {"-p", "x"};
    for (const std::string& path : {pipe, std::string("/dev/zero")}) {
      std::vector<std::string> args = {command, path};
      args.insert(args.end(), more.begin(), more.end());
      CheckFails(1, args, {path + ": ", "is not a regular file"});
    }
  }
  // Linux allows any bytes in a name. They are escaped where they are shown.
  const std::string odd = folder + "/\xff\xfe-\xe6\xa8\xa1.glint";
  Glint({"convert", TinyModel(), "-o", odd});
  CHECK(FilesIn(folder) == 2);
  CHECK(Glint({"verify", odd}).status == 0);
  CHECK(Glint({"generate", odd, "-p", "hello", "-n", "2"}).status == 0);
  const Result missing = Glint({"verify", odd + "\xff"});
  CHECK(missing.status == 1);
  CHECK(missing.err.find('\xff') == std::string::npos);
}

}  // namespace
}  // namespace glint
