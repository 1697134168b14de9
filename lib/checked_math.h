#pragma once
#include <cstdint>
#include <string>

#include "lib/error.h"

namespace glint {

// a * b and a + b of sizes that come from a file or a caller. Throw Error instead of wrapping around.
inline uint64_t CheckedTimes(uint64_t a, uint64_t b, const char* what) {
  uint64_t product = 0;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  throw Error(std::string(what) + ": too large (" + std::to_string(a) + " * " + std::to_string(b) +
              ")");
}
inline uint64_t CheckedPlus(uint64_t a, uint64_t b, const char* what) {
  uint64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  throw Error(std::string(what) + ": too large (" + std::to_string(a) + " + " + std::to_string(b) +
              ")");
}

}  // namespace glint
