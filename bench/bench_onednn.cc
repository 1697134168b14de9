// oneDNN's u8 x s8 matmul on the same shapes as bench_kernels: a peer for the int8 kernels. It multiplies
// whole rows of integers, without block scales, so it does a little less than ours.
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

int main() {
  constexpr dnnl_dim_t kRows = 12288, kCols = 4096;
  std::vector<int8_t> weights(static_cast<size_t>(kRows * kCols));
  uint32_t state = 1;
  for (int8_t& w : weights) w = static_cast<int8_t>((state = state * 1664525 + 1013904223) >> 24);
  for (const dnnl_dim_t tokens : {1, 6, 96, 480}) {
    std::vector<uint8_t> x(static_cast<size_t>(tokens * kCols), 3);
    std::vector<int32_t> y(static_cast<size_t>(tokens * kRows));
    const int32_t offset = 0;
    double best = 1e9;
    for (int round = 0; round < 7; ++round) {
      const auto start = std::chrono::steady_clock::now();
      const dnnl_status_t status =
          dnnl_gemm_u8s8s32('N', 'T', 'F', tokens, kRows, kCols, 1.0f, x.data(), kCols, 0,
                            weights.data(), kCols, 0, 0.0f, y.data(), kRows, &offset);
      if (status != dnnl_success) {
        std::fprintf(stderr, "bench_onednn: dnnl_gemm_u8s8s32 failed with status %d\n", status);
        return 1;
      }
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best = std::min(best, seconds.count());
    }
    std::printf("onednn u8s8s32  m = %3d: %.1f GMAC/s\n", static_cast<int>(tokens),
                static_cast<double>(tokens * kRows * kCols) / best * 1e-9);
  }
}
