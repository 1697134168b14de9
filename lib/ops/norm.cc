// layer_norm(x, weight, bias; eps) -> y
//   x, y          (n_tokens, dim)
//   weight, bias  f32 (dim)
//   y = (x - mean) / sqrt(variance + eps) * weight + bias   (Ba et al. 2016, eq. 4)
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void Infer(NodeCheck& check) {
  const int64_t dim = check.ExpectActivation(0, 2);
  check.ExpectVector(1, dim);
  check.ExpectVector(2, dim);
  check.Output({kTokens, dim});
}

void Run(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  const size_t dim = step.out.width;
  ForPanels(c.pool, c.n, dim, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      c.kernels.layer_norm(x + t * x_stride, step.vectors[0], step.vectors[1], y + t * y_stride,
                           dim, step.eps);
    }
    if (step.quantized_out) QuantizeRows(c, step, begin, end);
  });
}

void PlanNorm(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run);
  step.eps = static_cast<float>(std::get<double>(node.attributes.at("eps")));
  step.makes_rows = true;
  builder.SetOutput(step, node, step.in[0].width);
}

}  // namespace

Op LayerNormOp() {
  return {"layer_norm", 3, 3, 1, {{"eps", AttributeSpec::Type::kReal, 0, 1}}, Infer, PlanNorm};
}

}  // namespace glint
