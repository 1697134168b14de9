// gelu(x; approximation) -> y      x, y (n_tokens, dim); approximation "tanh"
// silu(x) -> y                     x, y (n_tokens, dim): y = x / (1 + exp(-x))
// scale(x; factor) -> y            x, y (n_tokens, dim): y = factor * x
// softcap(x; cap) -> y             x, y (n_tokens, dim): y = cap * tanh(x / cap)
// add(a, b; alpha) -> y            a, b, y (n_tokens, dim): y = alpha * a + b, one rounding
// mul(a, b) -> y                   a, b, y (n_tokens, dim): y = a * b
#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

using UnaryKernel = void (*KernelTable::*)(const float* x, float* y, size_t n);
using NumberKernel = void (*KernelTable::*)(const float* x, float number, float* y, size_t n);

// Calls either kind; the number is the step's alpha.
void Apply(const StepContext& c, const Step&, UnaryKernel kernel, const float* x, float* y,
           size_t n) {
  (c.kernels.*kernel)(x, y, n);
}
void Apply(const StepContext& c, const Step& step, NumberKernel kernel, const float* x, float* y,
           size_t n) {
  (c.kernels.*kernel)(x, step.alpha, y, n);
}

void InferUnary(NodeCheck& check) {
  check.Output({kTokens, check.ExpectActivation(0, 2)});
}

void InferBinary(NodeCheck& check) {
  const int64_t dim = check.ExpectActivation(0, 2);
  if (check.ExpectActivation(1, 2) != dim) {
    check.Fail("inputs differ: " + ToString(check.Input(0).shape) + " and " +
               ToString(check.Input(1).shape));
  }
  check.Output({kTokens, dim});
}

template <auto kKernel>
void RunUnary(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      Apply(c, step, kKernel, x + t * x_stride, y + t * y_stride, step.out.width);
    }
  });
}

// Calls f(a, b, y) for the rows of each token.
template <class F>
void ForBinaryRows(const StepContext& c, const Step& step, const F& f) {
  const float* a = c.Rows(step.in[0]);
  const float* b = c.Rows(step.in[1]);
  float* y = c.Rows(step.out);
  const size_t a_stride = c.Stride(step.in[0]), b_stride = c.Stride(step.in[1]);
  const size_t y_stride = c.Stride(step.out);
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) f(a + t * a_stride, b + t * b_stride, y + t * y_stride);
  });
}

void RunAdd(const StepContext& c, const Step& step) {
  ForBinaryRows(c, step, [&](const float* a, const float* b, float* y) {
    c.kernels.add_scaled(a, b, step.alpha, y, step.out.width);
  });
}

void RunMul(const StepContext& c, const Step& step) {
  ForBinaryRows(c, step, [&](const float* a, const float* b, float* y) {
    c.kernels.multiply(a, b, y, step.out.width);
  });
}

// The same for columns [begin, begin + n) of a linear's output, in place, for some tokens.
template <auto kKernel>
void UnaryOfColumns(const StepContext& c, const Step& step, size_t token_begin, size_t token_end,
                    size_t begin, size_t n) {
  float* y = c.Rows(step.out) + begin;
  const size_t stride = c.Stride(step.out);
  for (size_t t = token_begin; t < token_end; ++t) {
    Apply(c, step, kKernel, y + t * stride, y + t * stride, n);
  }
}

// Calls f(other, y) for these columns of each of these tokens: of the other input, and of the
// linear's output.
template <class F>
void ForColumns(const StepContext& c, const Step& step, size_t token_begin, size_t token_end,
                size_t begin, const F& f) {
  const ActivationRef& other = step.in.back();
  const float* x = c.Rows(other) + begin;
  float* y = c.Rows(step.out) + begin;
  const size_t x_stride = c.Stride(other), y_stride = c.Stride(step.out);
  for (size_t t = token_begin; t < token_end; ++t) f(x + t * x_stride, y + t * y_stride);
}

void AddToColumns(const StepContext& c, const Step& step, size_t token_begin, size_t token_end,
                  size_t begin, size_t n) {
  ForColumns(c, step, token_begin, token_end, begin,
             [&](const float* x, float* y) { c.kernels.add_scaled(x, y, step.alpha, y, n); });
}

void MulColumns(const StepContext& c, const Step& step, size_t token_begin, size_t token_end,
                size_t begin, size_t n) {
  ForColumns(c, step, token_begin, token_end, begin,
             [&](const float* x, float* y) { c.kernels.multiply(x, y, y, n); });
}

template <auto kKernel>
void PlanWithNumber(PlanBuilder& builder, const Node& node, float alpha) {
  if (Step* linear = builder.LinearToExtend(node.inputs[0])) {
    linear->epilogue = UnaryOfColumns<kKernel>;
    linear->alpha = alpha;
    return builder.Fuse(*linear, node);
  }
  Step& step = builder.AddStep(node, RunUnary<kKernel>);
  step.alpha = alpha;
  builder.SetOutput(step, node, step.in[0].width);
}

template <UnaryKernel kKernel>
void PlanUnary(PlanBuilder& builder, const Node& node) {
  PlanWithNumber<kKernel>(builder, node, 0);
}

void PlanScale(PlanBuilder& builder, const Node& node) {
  PlanWithNumber<&KernelTable::scale>(builder, node, static_cast<float>(RealOf(node, "factor")));
}

void PlanSoftcap(PlanBuilder& builder, const Node& node) {
  PlanWithNumber<&KernelTable::softcap>(builder, node, static_cast<float>(RealOf(node, "cap")));
}

void PlanAdd(PlanBuilder& builder, const Node& node) {
  const auto alpha = static_cast<float>(RealOf(node, "alpha"));
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

// Either input may be the linear's: a product is the same both ways round.
void PlanMul(PlanBuilder& builder, const Node& node) {
  for (const size_t i : {1, 0}) {
    Step* linear = builder.LinearToExtend(node.inputs[i]);
    if (!linear) continue;
    linear->epilogue = MulColumns;
    linear->in.push_back(builder.Place(node.inputs[1 - i]));
    return builder.Fuse(*linear, node);
  }
  Step& step = builder.AddStep(node, RunMul);
  builder.SetOutput(step, node, step.in[0].width);
}

}  // namespace

Op GeluOp() {
  return {"gelu",
          1,
          1,
          1,
          {{"approximation", AttributeSpec::Type::kText, 0, 0, {"tanh"}}},
          InferUnary,
          PlanUnary<&KernelTable::gelu_tanh>};
}

Op SiluOp() {
  return {"silu", 1, 1, 1, {}, InferUnary, PlanUnary<&KernelTable::silu>};
}

Op ScaleOp() {
  return {"scale",    1,        1, 1, {{"factor", AttributeSpec::Type::kReal, -1e30, 1e30}},
          InferUnary, PlanScale};
}

Op SoftcapOp() {
  return {"softcap",  1,          1, 1, {{"cap", AttributeSpec::Type::kReal, 1e-6, 1e6}},
          InferUnary, PlanSoftcap};
}

Op AddOp() {
  return {"add",       2,      2, 1, {{"alpha", AttributeSpec::Type::kReal, -1e30, 1e30}},
          InferBinary, PlanAdd};
}

Op MulOp() {
  return {"mul", 2, 2, 1, {}, InferBinary, PlanMul};
}

}  // namespace glint
