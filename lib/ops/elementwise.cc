// gelu(x; approximation) -> y      x, y (n_tokens, dim); approximation "tanh"
// add(a, b; alpha) -> y            a, b, y (n_tokens, dim): y = alpha * a + b, one rounding
#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void InferGelu(NodeCheck& check) { check.Output({kTokens, check.ExpectActivation(0, 2)}); }

void InferAdd(NodeCheck& check) {
  const int64_t dim = check.ExpectActivation(0, 2);
  if (check.ExpectActivation(1, 2) != dim) {
    check.Fail("inputs differ: " + ToString(check.Input(0).shape) + " and " +
               ToString(check.Input(1).shape));
  }
  check.Output({kTokens, dim});
}

void RunGelu(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      c.kernels.gelu_tanh(x + t * x_stride, y + t * y_stride, step.out.width);
    }
  });
}

void RunAdd(const StepContext& c, const Step& step) {
  const float* a = c.Rows(step.in[0]);
  const float* b = c.Rows(step.in[1]);
  float* y = c.Rows(step.out);
  const size_t a_stride = c.Stride(step.in[0]), b_stride = c.Stride(step.in[1]);
  const size_t y_stride = c.Stride(step.out);
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      c.kernels.add_scaled(a + t * a_stride, b + t * b_stride, step.alpha, y + t * y_stride,
                           step.out.width);
    }
  });
}

// The same for columns [begin, begin + n) of a linear's output, in place.
void GeluOfColumns(const StepContext& c, const Step& step, size_t begin, size_t n) {
  float* y = c.Rows(step.out) + begin;
  const size_t stride = c.Stride(step.out);
  for (size_t t = 0; t < c.n; ++t) c.kernels.gelu_tanh(y + t * stride, y + t * stride, n);
}

void AddToColumns(const StepContext& c, const Step& step, size_t begin, size_t n) {
  const ActivationRef& a = step.in.back();
  const float* x = c.Rows(a) + begin;
  float* y = c.Rows(step.out) + begin;
  const size_t x_stride = c.Stride(a), y_stride = c.Stride(step.out);
  for (size_t t = 0; t < c.n; ++t) {
    c.kernels.add_scaled(x + t * x_stride, y + t * y_stride, step.alpha, y + t * y_stride, n);
  }
}

void PlanGelu(PlanBuilder& builder, const Node& node) {
  if (Step* linear = builder.LinearToExtend(node.inputs[0])) {
    linear->epilogue = GeluOfColumns;
    return builder.Fuse(*linear, node);
  }
  Step& step = builder.AddStep(node, RunGelu);
  builder.SetOutput(step, node, step.in[0].width);
}

void PlanAdd(PlanBuilder& builder, const Node& node) {
  const auto alpha = static_cast<float>(std::get<double>(node.attributes.at("alpha")));
  if (Step* linear = builder.LinearToExtend(node.inputs[1])) {
    linear->epilogue = AddToColumns;
    linear->alpha = alpha;
    linear->in.push_back(builder.Place(node.inputs[0]));
    return builder.Fuse(*linear, node);
  }
  Step& step = builder.AddStep(node, RunAdd);
  step.alpha = alpha;
  builder.SetOutput(step, node, step.in[0].width);
}

}  // namespace

Op GeluOp() {
  return {"gelu",    1,        1, 1, {{"approximation", AttributeSpec::Type::kText, 0, 0, {"tanh"}}},
          InferGelu, PlanGelu};
}

Op AddOp() {
  return {"add",    2,       2, 1, {{"alpha", AttributeSpec::Type::kReal, -1e30, 1e30}},
          InferAdd, PlanAdd};
}

}  // namespace glint
