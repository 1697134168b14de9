#include <cstring>

#include "simd/kernel_list.h"

namespace glint::reference {

uint64_t DotPeak(uint64_t iterations, int32_t* sink) {
  int8_t a[16], b[16];
  for (int i = 0; i < 16; ++i) {
    a[i] = static_cast<int8_t>(i + *sink);
    b[i] = static_cast<int8_t>(i - *sink);
  }
  int32_t sum = 0;
  for (uint64_t n = 0; n < iterations; ++n) {
    for (int i = 0; i < 16; ++i) sum += a[i] * b[i];
    b[n % 16] = static_cast<int8_t>(n);
  }
  *sink = sum;
  return iterations * 16;
}

uint64_t ReadSum(const void* data, uint64_t bytes) {
  uint64_t sum = 0;
  for (uint64_t at = 0; at < bytes; at += sizeof(sum)) {
    uint64_t word;
    std::memcpy(&word, static_cast<const char*>(data) + at, sizeof(word));
    sum += word;
  }
  return sum;
}

}  // namespace glint::reference
