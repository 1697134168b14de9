#pragma once

namespace glint {

class Session;

// What Ctrl-C does while one of these lives: instead of ending the program it is counted, and the
// computation of the session, if there is one, ends at its next step. One at a time.
class InterruptScope {
 public:
  explicit InterruptScope(Session* session = nullptr);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;

  static int Count();  // since the last Reset
  static void Reset();
};

// Thrown to leave a long work cleanly after Ctrl-C; main then ends as the signal would have.
struct Interrupted {};

}  // namespace glint
