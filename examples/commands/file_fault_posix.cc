#include <unistd.h>

#include <atomic>
#include <csignal>

#include "examples/commands/file_fault.h"

namespace glint {
namespace {

// Any thread may be the one that met it, also several; only what a signal handler may call is
// called.
extern "C" void HandleFileFault(int) {
  static std::atomic_flag is_taken;
  while (is_taken.test_and_set()) pause();  // another thread says it and ends the program
  [[maybe_unused]] const ssize_t n =
      write(STDERR_FILENO, kFileFaultLine, sizeof kFileFaultLine - 1);
  _exit(kFileFaultStatus);
}

}  // namespace

void InstallFileFaultHandler() {
  struct sigaction action = {};
  action.sa_handler = HandleFileFault;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace glint
