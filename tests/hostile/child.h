#pragma once
#include <cstddef>
#include <functional>
#include <string>

// Runs what may go wrong apart from the runner; there is a child_posix.cc and a child_windows.cc.
namespace glint::hostile {

#if defined(__SANITIZE_ADDRESS__)
#define GLINT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GLINT_ASAN 1
#endif
#endif
#ifdef GLINT_ASAN
inline constexpr bool kIsAsan = true;
#else
inline constexpr bool kIsAsan = false;
#endif

inline constexpr size_t kStackBytes = 256 << 10;

struct Report {
  std::string end;      // how it ended, if not by returning: "signal 11"
  std::string outcome;  // what `work` returned
  long kib = 0;         // by how much the peak of memory grew
};

// On POSIX in a child process with limits of processor time and addresses. On Windows, which has no
// fork, in a thread of this process: a crash says the `name` and ends the program, memory is that
// beyond what anything before has taken. In both a stack of kStackBytes.
Report RunApart(const std::string& name, const std::function<std::string()>& work);

}  // namespace glint::hostile
