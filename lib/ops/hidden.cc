// hidden(; width) -> x      x (n_tokens, width): rows that the caller hands in (RunInputs::hidden)
//   What a piece of a graph begins with when calibration runs a model a piece at a time. A file may not
//   have it.
#include <cstring>

#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

constexpr double kMaxWidth = 1 << 24;

void Infer(NodeCheck& check) { check.Fail("only a piece of a graph may begin with this op"); }

void Run(const StepContext& c, const Step& step) {
  const size_t width = step.out.width, stride = c.Stride(step.out);
  const float* rows = c.inputs.hidden + c.begin * width;
  float* out = c.Rows(step.out);
  ForRows(c.pool, c.n, width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      std::memcpy(out + t * stride, rows + t * width, width * sizeof(float));
    }
  });
}

void PlanHidden(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run);
  builder.SetOutput(step, node, static_cast<uint64_t>(IntOf(node, "width")));
}

}  // namespace

Op HiddenOp() {
  return {"hidden", 0, 0, 1, {{"width", AttributeSpec::Type::kInt, 1, kMaxWidth}}, Infer, PlanHidden};
}

}  // namespace glint
