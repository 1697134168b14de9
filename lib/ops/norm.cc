// layer_norm(x, weight, bias; eps) -> y
//   x, y          (n_tokens, dim)
//   weight, bias  f32 (dim)
//   y = (x - mean) / sqrt(variance + eps) * weight + bias   (Ba et al. 2016, eq. 4)
// rms_norm(x, weight; eps) -> y
//   the same shapes; y = x / sqrt(mean of squares + eps) * weight   (Zhang and Sennrich 2019, eq.
//   4). Or x, y (n_tokens, heads, head_dim) and weight (head_dim): each head by itself.
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

using NormRow = void (*)(const KernelTable& kernels, const Step& step, const float* x, float* y);

void LayerNormRow(const KernelTable& kernels, const Step& step, const float* x, float* y) {
  kernels.layer_norm(x, step.vectors[0], step.vectors[1], y, step.head_dim, step.eps);
}

void RmsNormRow(const KernelTable& kernels, const Step& step, const float* x, float* y) {
  kernels.rms_norm(x, step.vectors[0], y, step.head_dim, step.eps);
}

// The inputs after x are vectors.
void InferRank(NodeCheck& check, size_t rank) {
  const int64_t dim = check.ExpectActivation(0, rank);
  for (size_t i = 1; i < check.n_inputs(); ++i) check.ExpectVector(i, dim);
  check.Output(check.Input(0).shape);
}
void InferRows(NodeCheck& check) { InferRank(check, 2); }
void InferRowsOrHeads(NodeCheck& check) {
  InferRank(check, check.Input(0).shape.size() == 3 ? 3 : 2);
}

template <NormRow kNorm>
void Run(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  ForPanels(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t h = 0; h < step.heads; ++h) {
        kNorm(c.kernels, step, x + t * x_stride + h * step.in[0].head_stride,
              y + t * y_stride + h * step.head_dim);
      }
    }
    if (step.quantized_out) QuantizeRows(c, step, begin, end);
  });
}

template <NormRow kNorm>
void PlanNorm(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run<kNorm>);
  step.eps = static_cast<float>(RealOf(node, "eps"));
  step.heads = step.in[0].heads;  // 1 if x is rows
  step.head_dim = step.in[0].width / step.heads;
  step.makes_rows = true;
  builder.SetOutput(step, node, step.in[0].width, step.heads);
}

std::vector<AttributeSpec> Attributes() {
  return {{"eps", AttributeSpec::Type::kReal, 0, 1}};
}

}  // namespace

Op LayerNormOp() {
  return {"layer_norm", 3, 3, 1, Attributes(), InferRows, PlanNorm<LayerNormRow>};
}

Op RmsNormOp() {
  return {"rms_norm", 2, 2, 1, Attributes(), InferRowsOrHeads, PlanNorm<RmsNormRow>};
}

}  // namespace glint
