#include "lib/ops/quantize.h"

#include "lib/ops/rows.h"

namespace glint {

QuantizedLayout::QuantizedLayout(uint64_t cols, size_t rows) {
  const uint64_t blocks = (cols + kActivationBlock - 1) / kActivationBlock;
  const auto align = [](uint64_t n) { return (n + 63) / 64 * 64; };
  scales = rows * blocks * kActivationBlock;
  sums = scales + align(rows * blocks * sizeof(float));
  bytes = sums + align(rows * blocks * kBlockSums * sizeof(int16_t));
}

QuantizedRows RowsOf(const StepContext& c, const QuantizedRef& ref) {
  const QuantizedLayout layout(ref.cols, c.n);
  uint8_t* base = c.plan.arena() + c.plan.buffers()[ref.buffer].arena_offset;
  return {reinterpret_cast<int8_t*>(base), reinterpret_cast<float*>(base + layout.scales),
          reinterpret_cast<int16_t*>(base + layout.sums)};
}

void QuantizeRows(const StepContext& c, const Step& step, size_t begin, size_t end) {
  const ActivationRef& from = step.out.width != 0 ? step.out : step.in[0];
  const QuantizedRef& to = step.quantized_out;
  c.kernels.quantize_rows(c.Rows(from), c.Stride(from), c.n, to.cols,
                          BiasedCodes(c.kernels, to.weights, c.n), RowsOf(c, to),
                          begin / kPanelTokens, (end + kPanelTokens - 1) / kPanelTokens);
}

void RunQuantize(const StepContext& c, const Step& step) {
  ForPanels(c.pool, c.n, step.quantized_out.cols,
            [&](size_t begin, size_t end) { QuantizeRows(c, step, begin, end); });
}

}  // namespace glint
