#pragma once
#include <cstdint>

#include "lib/plan.h"

// Activations as bytes for the linears with integer weights. Not an op of the graph: the plan adds it
// where it is needed (PlanBuilder::Quantized).
namespace glint {

// Where the parts of `rows` quantized rows of `cols` floats lie in memory (simd/kernels.h).
struct QuantizedLayout {
  QuantizedLayout(uint64_t cols, size_t rows);
  uint64_t scales, sums, bytes;  // the codes are first
};

// The rows of the context's chunk that a step wrote, or is to write, to `ref`.
QuantizedRows RowsOf(const StepContext& c, const QuantizedRef& ref);

// Quantizes rows [begin, end) of the step's output (of its input, if it has no output) to its
// quantized_out. begin: a multiple of kPanelTokens; end too, or the last row.
void QuantizeRows(const StepContext& c, const Step& step, size_t begin, size_t end);

// A step that does nothing else.
void RunQuantize(const StepContext& c, const Step& step);

}  // namespace glint
