#include "examples/commands/interrupt.h"

#include <atomic>
#include <csignal>

#include "lib/session.h"

namespace glint {
namespace {

// All that a signal handler may touch: lock-free atomics.
std::atomic<int> g_count{0};
std::atomic<Session*> g_session{nullptr};

extern "C" void HandleInterrupt(int) {
  g_count.fetch_add(1);
  if (Session* session = g_session.load()) session->Cancel();
}

void Install(void (*handler)(int)) {
  struct sigaction action = {};
  sigaction(SIGINT, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;  // who started us wants it so (nohup, "&" in a script)
  action.sa_handler = handler;
  action.sa_flags = 0;  // no SA_RESTART: a read that waits for a line must return
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptScope::InterruptScope(Session* session) {
  g_session.store(session);
  g_count.store(0);
  Install(HandleInterrupt);
}

InterruptScope::~InterruptScope() {
  Install(SIG_DFL);
  g_session.store(nullptr);
}

int InterruptScope::Count() {
  return g_count.load();
}
void InterruptScope::Reset() {
  g_count.store(0);
}

}  // namespace glint
