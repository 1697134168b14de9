#include <cmath>
#include <cstdlib>
#include <limits>

#include "simd/kernel_list.h"

namespace glint::reference {

// One block of n <= 64 columns of one token; the rest of the codes is zero, or what that is biased.
static void QuantizeBlock(const float* x, size_t n, bool biased, int8_t* codes, float* scale,
                          int16_t* sums) {
  float largest = 0;
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    finite &= std::isfinite(x[i]);
    largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  }
  const float inverse = 127.0f / largest;
  const bool zero = !finite || !std::isfinite(inverse);
  *scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0f : largest / 127.0f;
  for (size_t i = 0; i < kBlockSums; ++i) sums[i] = 0;
  for (size_t i = 0; i < kActivationBlock; ++i) {
    const int code = i < n && !zero ? static_cast<int>(std::nearbyint(x[i] * inverse)) : 0;
    codes[i] = static_cast<int8_t>(biased ? code + 128 : code);
    sums[i / kSumColumns] = static_cast<int16_t>(sums[i / kSumColumns] + code);
  }
}

void QuantizeRows(const float* x, size_t x_stride, size_t m, size_t k, bool biased,
                  QuantizedRows out, size_t panel_begin, size_t panel_end) {
  const size_t blocks = (k + kActivationBlock - 1) / kActivationBlock;
  for (size_t panel = panel_begin; panel < panel_end; ++panel) {
    const size_t first = panel * kPanelTokens;
    const size_t tokens = m - first < kPanelTokens ? m - first : kPanelTokens;
    for (size_t b = 0; b < blocks; ++b) {
      const size_t begin = b * kActivationBlock;
      const size_t n = k - begin < kActivationBlock ? k - begin : kActivationBlock;
      for (size_t t = 0; t < tokens; ++t) {
        // Panels before this one hold kPanelTokens tokens each.
        const size_t at = first * blocks + b * tokens + t;
        QuantizeBlock(x + (first + t) * x_stride + begin, n, biased,
                      out.codes + at * kActivationBlock, out.scales + at,
                      out.sums + kBlockSums * at);
      }
    }
  }
}

}  // namespace glint::reference
