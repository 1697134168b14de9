#include "examples/commands/file_fault.h"

#include <atomic>
#include <csignal>

#if defined(SIGBUS)
#include <unistd.h>
#endif

namespace glint {

#if defined(SIGBUS)
namespace {

// Any thread may be the one that met it, also several; only what a signal handler may call is called.
extern "C" void HandleFileFault(int) {
  static constexpr char kLine[] =
      "glint: a model file was cut short, or its disk failed, while it was in use "
      "(--load copy keeps a model in memory)\n";
  static std::atomic_flag is_taken;
  while (is_taken.test_and_set()) pause();  // another thread says it and ends the program
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, kLine, sizeof kLine - 1);
  _exit(kFileFaultStatus);
}

}  // namespace

void InstallFileFaultHandler() {
  struct sigaction action = {};
  action.sa_handler = HandleFileFault;
  sigaction(SIGBUS, &action, nullptr);
}
#else
// Windows keeps a mapped file from being cut.
void InstallFileFaultHandler() {}
#endif

}  // namespace glint
