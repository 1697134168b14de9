#pragma once
#include <cstddef>
#include <functional>

namespace glint::test {

// Runs fn() in a thread with a stack of that many bytes and waits for it; fn must not throw. False:
// there was no thread. In system_posix.cc and system_windows.cc.
bool RunOnStack(size_t bytes, const std::function<void()>& fn);

}  // namespace glint::test
