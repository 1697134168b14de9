#pragma once
#include <cstdint>
#include <string>

#include "lib/error.h"

namespace glint {

// a * b and a + b of sizes that come from a file or a caller: the one place where it is said what
// happens beyond 64 bits. False if the result does not fit.
[[nodiscard]] inline bool CheckedMul(uint64_t a, uint64_t b, uint64_t* product) {
  return !__builtin_mul_overflow(a, b, product);
}
[[nodiscard]] inline bool CheckedAdd(uint64_t a, uint64_t b, uint64_t* sum) {
  return !__builtin_add_overflow(a, b, sum);
}

// The same, but they throw Error, which `what` begins.
inline uint64_t CheckedTimes(uint64_t a, uint64_t b, const char* what) {
  uint64_t product = 0;
  if (CheckedMul(a, b, &product)) return product;
  throw Error(std::string(what) + ": too large (" + std::to_string(a) + " * " + std::to_string(b) +
              ")");
}
inline uint64_t CheckedPlus(uint64_t a, uint64_t b, const char* what) {
  uint64_t sum = 0;
  if (CheckedAdd(a, b, &sum)) return sum;
  throw Error(std::string(what) + ": too large (" + std::to_string(a) + " + " + std::to_string(b) +
              ")");
}

}  // namespace glint
