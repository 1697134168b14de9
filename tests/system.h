#pragma once
#include <cstdint>
#include <string>
#include <vector>

// What tests need of the operating system beyond lib/system; there is a system_posix.cc and a
// system_windows.cc.
namespace glint::test {

void SetVariable(const char* name, const std::string& value);  // of the environment
void ClearVariable(const char* name);

// A fresh folder; its separators are '/' everywhere.
std::string MakeFolder();

// Things that are no regular files, one of them made in `folder` with that name where the system can.
std::vector<std::string> NoRegularFiles(const std::string& folder, const std::string& name);
// Bytes that a file takes on the disk: fewer than it has, if it is sparse.
uint64_t BytesOnDisk(const std::string& path);

// Runs a program and waits for its end: its status, or 1000 and more if it did not end by itself.
// `environment`: "NAME=VALUE NAME='VALUE'". GLINT_WRAPPER stands before the command.
struct ProgramRun {
  std::vector<std::string> command;
  std::string environment;
  std::string in, out, err;  // files
};
int RunProgram(const ProgramRun& run);

}  // namespace glint::test
