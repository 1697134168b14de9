#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "examples/commands/terminal.h"

namespace glint {
namespace {

std::atomic<void (*)()> g_handler{nullptr};

extern "C" void HandleInterrupt(int) {
  if (const auto handler = g_handler.load()) handler();
}

}  // namespace

void SetUpProcess() {
  std::signal(SIGXFSZ, SIG_IGN);  // writing fails then, and no half-made file stays
}

std::vector<std::string> ProgramArguments(int argc, char** argv) {
  return {argv + (argc > 0 ? 1 : 0), argv + argc};
}

bool StdinIsTerminal() {
  return isatty(STDIN_FILENO) != 0;
}
bool StdoutIsTerminal() {
  return isatty(STDOUT_FILENO) != 0;
}
bool StderrIsTerminal() {
  return isatty(STDERR_FILENO) != 0;
}

void WriteOut(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}
bool FlushOut() {
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}
void WriteError(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

InputLine ReadInputLine(std::string* line) {
  if (std::getline(std::cin, *line)) return InputLine::kRead;
  // A read that a signal ended looks like the end to one of the two alone.
  if (!std::cin.eof() || std::feof(stdin)) return InputLine::kEnd;
  std::cin.clear();
  std::clearerr(stdin);
  return InputLine::kInterrupted;
}

std::string ReadAllInput() {
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

void CatchInterrupts(void (*handler)()) {
  struct sigaction action = {};
  sigaction(SIGINT, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;  // as with nohup, or "&" in a script
  g_handler.store(handler);
  action.sa_handler = handler ? HandleInterrupt : SIG_DFL;
  action.sa_flags = 0;  // no SA_RESTART: a read that waits for a line must return
  sigaction(SIGINT, &action, nullptr);
}

void EndAsInterrupted() {
  std::signal(SIGINT, SIG_DFL);
  std::raise(SIGINT);
  std::_Exit(1);  // the signal is blocked
}

}  // namespace glint
