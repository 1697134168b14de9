// hostile_runner [-v] [NAME...]: reads every file of the catalogue (or those whose name begins so),
// each apart (child.h): on POSIX in a child process of 5 s of processor time, 1 GiB of addresses, a
// stack of 256 KiB. What must hold: no crash, the verdict, a message that names the file, less than
// 64 MiB of memory, no new file. With sanitizers the limit of addresses does not apply, and memory
// may be 4 times as much.
#include "tests/hostile/runner.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>

#include "formats/convert/convert.h"
#include "formats/import/checkpoint.h"
#include "formats/import/gguf.h"
#include "formats/import/imported_tokenizer.h"
#include "formats/import/sentencepiece.h"
#include "lib/error.h"
#include "lib/text/utf8.h"
#include "tests/fuzz/run_model.h"
#include "tests/fuzz/use_tokenizer.h"
#include "tests/hostile/child.h"
#include "tests/test_util.h"

namespace glint::hostile {
namespace {

namespace fs = std::filesystem;

constexpr long kMostKib = (64 << 10) * (kIsAsan ? 4 : 1);
constexpr double kMostSeconds = 5;

void ReadAs(const Case& test, const std::string& path) {
  switch (test.stage) {
    case Stage::kGguf:
      Gguf::Open(path);
      break;
    case Stage::kCheckpoint:
      Checkpoint::Open(path);
      break;
    case Stage::kTokenizer:
      fuzz::UseTokenizer(*LoadTokenizer(ReadTokenizerFile(path, {"", 0}), path)->tokenizer, "a b");
      break;
    case Stage::kSentencePiece:
      fuzz::UseTokenizer(*LoadSentencePiece(path)->tokenizer, "a b");
      break;
    case Stage::kModel: {
      ConvertOptions options;
      options.source = path;
      options.write.threads = 1;
      options.search = false;
      const auto memory = ConvertToMemory(options);
      fuzz::RunModel(*Model::FromMemory(memory->data(), memory->bytes(), path, memory));
    }
  }
}

// 'A', or 'R' and the message, or '!' and what else was thrown.
std::string Outcome(const Case& test, const std::string& path) {
  try {
    ReadAs(test, path);
  } catch (const Error& error) {
    return std::string("R") + error.what();
  } catch (const std::exception& error) {
    return std::string("!") + error.what();
  }
  return "A";
}

std::set<std::string> NamesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    names.insert(entry.path().string());
  }
  return names;
}

// What is wrong with a message; empty: nothing.
std::string JudgeMessage(const Case& test, const std::string& message, const std::string& folder) {
  if (!message.starts_with(folder)) return "does not begin with the file";
  if (message.size() > folder.size() + 1000) return "is long";
  if (!IsUtf8(message)) return "has raw bytes";
  for (const char c : message) {
    if (static_cast<uint8_t>(c) < 0x20) return "has control characters";
  }
  if (message.find(test.words) == message.npos) return "does not hold '" + test.words + "'";
  return "";
}

std::string Judge(const Case& test, const Report& report, double seconds,
                  const std::string& folder) {
  if (!report.end.empty()) return report.end;
  const char kind = report.outcome[0];
  const std::string message = report.outcome.substr(1);
  if (kind == '!') return "an exception of another kind: " + message;
  if (report.kib > kMostKib) return "took " + std::to_string(report.kib >> 10) + " MiB";
  if (seconds > kMostSeconds * (kIsAsan ? 4 : 1)) return "took " + std::to_string(seconds) + " s";
  if (test.accept) return kind == 'A' ? "" : "refused: " + message;
  if (kind == 'A') return "accepted";
  const std::string fault = JudgeMessage(test, message, folder);
  return fault.empty() ? "" : "the message " + fault + ": " + message;
}

// Runs one case; empty if all is as it must be.
std::string Run(const Case& test, const std::string& base, bool verbose) {
  const std::string folder = base + "/case";
  fs::remove_all(folder);
  fs::create_directory(folder);
  for (const auto& [name, bytes] : test.files) WriteFile(folder + "/" + name, bytes);
  const std::set<std::string> before = NamesIn(base);
  std::fflush(stdout);
  const auto begin = std::chrono::steady_clock::now();
  const Report report =
      RunApart(test.name, [&] { return Outcome(test, folder + "/" + test.path); });
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  if (verbose) {
    std::printf("%s: %ld KiB, %s%s\n", test.name.c_str(), report.kib, report.end.c_str(),
                report.outcome.c_str());
  }
  if (NamesIn(base) != before) return "a file was left behind";
  return Judge(test, report, time.count(), folder);
}

bool IsWanted(const std::string& name, const std::vector<std::string>& wanted) {
  return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& begin) {
           return name.starts_with(begin);
         });
}

}  // namespace
}  // namespace glint::hostile

int main(int argc, char** argv) {
  using namespace glint::hostile;
  bool verbose = false;
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "-v") == 0) {
      verbose = true;
    } else {
      wanted.push_back(argv[i]);
    }
  }
  Cases cases;
  AddGgufCases(&cases);
  AddGgufModelCases(&cases);
  AddSafetensorsCases(&cases);
  AddTorchCases(&cases);
  AddTokenizerCases(&cases);
  AddFolderCases(&cases);
  const std::string base = glint::TempDir();
  size_t rejected = 0, accepted = 0, failed = 0;
  for (const Case& test : cases) {
    if (!IsWanted(test.name, wanted)) continue;
    (test.accept ? accepted : rejected)++;
    const std::string fault = Run(test, base, verbose);
    if (fault.empty()) continue;
    std::printf("FAILED %s: %s\n", test.name.c_str(), fault.c_str());
    ++failed;
  }
  std::printf("%zu files to refuse, %zu to accept: %zu failed\n", rejected, accepted, failed);
  return failed == 0 && rejected + accepted != 0 ? 0 : 1;
}
