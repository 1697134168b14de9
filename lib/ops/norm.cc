// layer_norm(x, weight, bias; eps) -> y
//   x, y          (n_tokens, dim)
//   weight, bias  f32 (dim)
//   y = (x - mean) / sqrt(variance + eps) * weight + bias   (Ba et al. 2016, eq. 4)
// rms_norm(x, weight; eps) -> y
//   the same shapes; y = x / sqrt(mean of squares + eps) * weight   (Zhang and Sennrich 2019, eq.
//   4)
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

using NormRow = void (*)(const KernelTable& kernels, const Step& step, const float* x, float* y);

void LayerNormRow(const KernelTable& kernels, const Step& step, const float* x, float* y) {
  kernels.layer_norm(x, step.vectors[0], step.vectors[1], y, step.out.width, step.eps);
}

void RmsNormRow(const KernelTable& kernels, const Step& step, const float* x, float* y) {
  kernels.rms_norm(x, step.vectors[0], y, step.out.width, step.eps);
}

// The inputs after x are vectors.
void Infer(NodeCheck& check) {
  const int64_t dim = check.ExpectActivation(0, 2);
  for (size_t i = 1; i < check.n_inputs(); ++i) check.ExpectVector(i, dim);
  check.Output({kTokens, dim});
}

template <NormRow kNorm>
void Run(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  ForPanels(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      kNorm(c.kernels, step, x + t * x_stride, y + t * y_stride);
    }
    if (step.quantized_out) QuantizeRows(c, step, begin, end);
  });
}

template <NormRow kNorm>
void PlanNorm(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run<kNorm>);
  step.eps = static_cast<float>(std::get<double>(node.attributes.at("eps")));
  step.makes_rows = true;
  builder.SetOutput(step, node, step.in[0].width);
}

std::vector<AttributeSpec> Attributes() {
  return {{"eps", AttributeSpec::Type::kReal, 0, 1}};
}

}  // namespace

Op LayerNormOp() {
  return {"layer_norm", 3, 3, 1, Attributes(), Infer, PlanNorm<LayerNormRow>};
}

Op RmsNormOp() {
  return {"rms_norm", 2, 2, 1, Attributes(), Infer, PlanNorm<RmsNormRow>};
}

}  // namespace glint
