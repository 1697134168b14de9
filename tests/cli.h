#pragma once
#include <doctest/doctest.h>

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lib/system/file.h"
#include "tests/system.h"
#include "tests/test_util.h"

// Runs the built program as a user does. GLINT_BIN names it; GLINT_WRAPPER stands before it
// ("qemu-aarch64 -L /usr/aarch64-linux-gnu"); GLINT_SOURCE_DIR is the repository.
namespace glint::test {

struct Result {
  int status = -1;
  std::string out, err;
};

inline std::string Env(const char* name) { return Environment(name); }

// The program with these arguments, with `input` on its standard input (a file, so no terminal).
inline Result Glint(const std::vector<std::string>& args, const std::string& input = "",
                    const std::string& environment = "") {
  static const std::string folder = TempDir();
  const std::string in = folder + "/in", out = folder + "/out", err = folder + "/err";
  WriteFile(in, input);
  std::vector<std::string> command = {Env("GLINT_BIN")};
  command.insert(command.end(), args.begin(), args.end());
  const int status = RunProgram({command, environment, in, out, err});
  return {status, ReadFile(out), ReadFile(err)};
}

// The output of a run that must succeed without a word on stderr.
inline std::string Output(const std::vector<std::string>& args, const std::string& input = "",
                          const std::string& environment = "") {
  const Result result = Glint(args, input, environment);
  CAPTURE(args.at(0));
  CHECK(result.err == "");
  REQUIRE(result.status == 0);
  return result.out;
}

inline nlohmann::json JsonOutput(const std::vector<std::string>& args) {
  const std::string out = Output(args);
  CHECK(std::count(out.begin(), out.end(), '\n') == 1);
  return nlohmann::json::parse(out);
}

// Checks that a run fails with this status and one line on stderr that holds all of `words`.
inline void CheckFails(int status, const std::vector<std::string>& args,
                       std::initializer_list<std::string> words, const std::string& input = "",
                       const std::string& environment = "") {
  const Result result = Glint(args, input, environment);
  CAPTURE(args.at(0));
  CAPTURE(result.err);
  CHECK(result.status == status);
  CHECK(result.err.starts_with("glint: "));
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.ends_with('\n'));
  for (const std::string& word : words) {
    CAPTURE(word);
    CHECK(result.err.find(word) != std::string::npos);
  }
  for (const char c : result.err) CHECK((static_cast<uint8_t>(c) >= 0x20 || c == '\n'));
}

inline std::string TinyFolder() {
  return Env("GLINT_SOURCE_DIR") + "/examples/tiny/model";
}

// The tiny model of the repository, converted once per type by the program itself.
inline std::string TinyModel(const std::string& type = "int8") {
  static const std::string folder = TempDir();
  const std::string path = folder + "/" + type + ".glint";
  if (!IsRegularFile(path)) Output({"convert", TinyFolder(), "-o", path, "--type", type});
  return path;
}

// How many files there are in a folder, hidden ones too.
inline size_t FilesIn(const std::string& folder) {
  size_t n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) n += entry.exists() ? 1 : 0;
  return n;
}

inline bool IsProgramThere() {
  if (!Env("GLINT_BIN").empty() && !Env("GLINT_SOURCE_DIR").empty()) return true;
  std::printf("skipped: tests of the program (no GLINT_BIN)\n");
  return false;
}

}  // namespace glint::test
