#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "lib/system/file.h"
#include "tests/stack.h"
#include "tests/system.h"

namespace glint::test {
namespace {

std::string ShellQuoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

void SetVariable(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }
void ClearVariable(const char* name) { unsetenv(name); }

std::string MakeFolder() {
  std::string path = JoinPath(TemporaryFolder(), "glint-test-XXXXXX");
  if (!mkdtemp(path.data())) throw std::runtime_error("mkdtemp failed for " + path);
  return path;
}

std::vector<std::string> NoRegularFiles(const std::string& folder, const std::string& name) {
  const std::string pipe = folder + "/" + name;
  if (mkfifo(pipe.c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed for " + pipe);
  return {"/dev/zero", pipe};
}

uint64_t BytesOnDisk(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) throw std::runtime_error("no " + path);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

int RunProgram(const ProgramRun& run) {
  std::string command = run.environment + " " + Environment("GLINT_WRAPPER");
  for (const std::string& arg : run.command) command += " " + ShellQuoted(arg);
  command += " < " + run.in + " > " + run.out + " 2> " + run.err;
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

bool RunOnStack(size_t bytes, const std::function<void()>& fn) {
  const auto run = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  const bool started =
      pthread_attr_setstacksize(&attributes, bytes) == 0 &&
      pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&fn)) == 0;
  pthread_attr_destroy(&attributes);
  return started && pthread_join(thread, nullptr) == 0;
}

}  // namespace glint::test
