#pragma once
#include <cstddef>
#include <cstdint>

// Memory that runs out when a test says so. A program that links failing_memory.cc has its own operator
// new, mmap and pthread_create: the requests of all its threads are counted, and one of them, or all
// from one on, can be made to fail. What lives is counted too, so that a leak shows in any build.
namespace glint::test {

// A sanitizer takes terabytes of addresses: a limit of them would not let the program start.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kHasSanitizer = true;
#else
inline constexpr bool kHasSanitizer = false;
#endif

// Requests are counted, and may fail, while one of these lives.
class MemoryScope {
 public:
  static constexpr size_t kNever = SIZE_MAX;
  // The request of this number, from 0 on, fails; with `goes_on` all that follow fail too.
  explicit MemoryScope(size_t fail_at = kNever, bool goes_on = false);
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;

  size_t requests() const;  // so far
  bool failed() const;      // whether one was made to fail
};

// What exists now: blocks of operator new, and bytes of whole pages that were mapped.
struct Live {
  int64_t blocks = 0, mapped = 0;
  bool operator==(const Live&) const = default;
};
Live LiveMemory();

}  // namespace glint::test
