#pragma once
#include "lib/plan.h"
#include "lib/plan_builder.h"

// Changes of low rank that a linear's weight has (lib/low_rank.h). For each of them in order, after the
// product with the weight and before bias and epilogue:
//   z = a . x, delta = b . z (matmul_f32, matmul_f16 or matmul_bf16, by the type of a and b),
//   y = fma(scale, delta, y)
// x are floats also where the weight's own product reads bytes. Then y = y + bias. A linear without
// changes knows nothing of this.
namespace glint {

// Plans the changes of `step`, a linear of `node` whose inputs are settled: its input as floats, and
// scratch memory. Nothing if its weight has none.
void PlanLowRank(PlanBuilder& builder, const Node& node, Step& step);

// z of all changes for the rows of the chunk.
void MultiplyByA(const StepContext& c, const Step& step);

// Adds the changes, then the bias, to what tiles [begin, end) of the weight have given to the rows of
// the chunk. At most kMaxTaskTiles of them.
void AddLowRank(const StepContext& c, const Step& step, size_t begin, size_t end, size_t worker);

}  // namespace glint
