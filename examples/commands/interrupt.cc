#include "examples/commands/interrupt.h"

#include <atomic>

#include "examples/commands/terminal.h"
#include "lib/session.h"

namespace glint {
namespace {

// All that a signal handler may touch: lock-free atomics.
std::atomic<int> g_count{0};
std::atomic<Session*> g_session{nullptr};

void CountInterrupt() {
  g_count.fetch_add(1);
  if (Session* session = g_session.load()) session->Cancel();
}

}  // namespace

InterruptScope::InterruptScope(Session* session) {
  g_session.store(session);
  g_count.store(0);
  CatchInterrupts(CountInterrupt);
}

InterruptScope::~InterruptScope() {
  CatchInterrupts(nullptr);
  g_session.store(nullptr);
}

int InterruptScope::Count() {
  return g_count.load();
}
void InterruptScope::Reset() {
  g_count.store(0);
}

}  // namespace glint
