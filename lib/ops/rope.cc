// rope(x, inv_freq, position.0 [, position.1]; style) -> y
//   x, y      (n_tokens, heads, head_dim)
//   inv_freq  f32 (n_freq): radians per position, in the file so that every build has the same
//   The head is cut into one section per position input, 2 * n_freq each; section s of token t is
//   rotated by position.s[t]. style "neox": element i pairs with i + n_freq (Su et al. 2021, eq. 34).
#include <cstring>

#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void Infer(NodeCheck& check) {
  const int64_t head_dim = check.ExpectActivation(0, 3);
  const auto sections = static_cast<int64_t>(check.n_inputs() - 2);
  if (head_dim % (2 * sections) != 0) {
    check.Fail("head_dim " + std::to_string(head_dim) + " cannot be cut into " +
               std::to_string(sections) + " even sections");
  }
  check.ExpectVector(1, head_dim / (2 * sections));
  check.ExpectInput(2, "position.0");
  if (sections == 2) check.ExpectInput(3, "position.1");
  check.Output(check.Input(0).shape);
}

void RotateRow(const StepContext& c, const Step& step, size_t t, float* y) {
  const size_t n_freq = step.rope->n_freq;
  for (size_t s = 0; s < step.inputs.size(); ++s) {
    const auto position = static_cast<size_t>(c.inputs.positions[s][c.begin + t]);
    c.kernels.rope_neox(y + s * 2 * n_freq, step.out.head_stride, step.out.heads, n_freq,
                        step.rope->cosines.data() + position * n_freq,
                        step.rope->sines.data() + position * n_freq);
  }
}

void Run(const StepContext& c, const Step& step) {
  const ActivationRef& in = step.in[0];
  const float* x = c.Rows(in);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(in), y_stride = c.Stride(step.out);
  const size_t head_dim = step.out.head_stride;
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t h = 0; h < in.heads; ++h) {
        std::memcpy(y + t * y_stride + h * head_dim, x + t * x_stride + h * in.head_stride,
                    head_dim * sizeof(float));
      }
      RotateRow(c, step, t, y + t * y_stride);
    }
  });
}

void PlanRope(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run);
  step.rope = builder.RopeTableOf(node.inputs[1]);
  builder.SetOutput(step, node, step.in[0].width, step.in[0].heads);
}

}  // namespace

Op RopeOp() {
  return {"rope", 3, 4, 1, {{"style", AttributeSpec::Type::kText, 0, 0, {"neox"}}}, Infer, PlanRope};
}

}  // namespace glint
