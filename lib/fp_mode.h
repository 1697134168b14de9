#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace glint {

// Sets the IEEE default floating-point mode (round to nearest even, no flush to zero, no traps) for a
// scope and restores the caller's. Results depend on the mode, and the mode is the caller's.
class FpModeScope {
 public:
  FpModeScope() : saved_(Get()) { Set(kDefault); }
  ~FpModeScope() { Set(saved_); }
  FpModeScope(const FpModeScope&) = delete;
  FpModeScope& operator=(const FpModeScope&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kDefault = 0x1F80;  // all exceptions masked
  static uint64_t Get() { return _mm_getcsr(); }
  static void Set(uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kDefault = 0;
  static uint64_t Get() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Set(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#elif defined(__arm__) && defined(__VFP_FP__) && !defined(__SOFTFP__)
  static constexpr uint64_t kDefault = 0;
  static uint64_t Get() {
    uint32_t mode;
    asm volatile("vmrs %0, fpscr" : "=r"(mode));
    return mode;
  }
  static void Set(uint64_t mode) {
    asm volatile("vmsr fpscr, %0" : : "r"(static_cast<uint32_t>(mode)));
  }
#else
  static constexpr uint64_t kDefault = 0;
  static uint64_t Get() { return 0; }
  static void Set(uint64_t) {}
#endif
  uint64_t saved_;
};

}  // namespace glint
