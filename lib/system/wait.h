#pragma once
#include <atomic>
#include <cstdint>

namespace glint {

// Sleeping until another thread changes a number and wakes us. Wait may return early; wakers change the
// number first. As std::atomic's wait, which has no call of Windows under it in gcc's library, but one
// lock and one condition for many numbers.
#if defined(_WIN32)
void Wait(const std::atomic<uint32_t>& number, uint32_t old);
void WakeOne(std::atomic<uint32_t>& number);
void WakeAll(std::atomic<uint32_t>& number);
#else
inline void Wait(const std::atomic<uint32_t>& number, uint32_t old) { number.wait(old); }
inline void WakeOne(std::atomic<uint32_t>& number) { number.notify_one(); }
inline void WakeAll(std::atomic<uint32_t>& number) { number.notify_all(); }
#endif

}  // namespace glint
