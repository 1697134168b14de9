// rope(x, inv_freq, position.0 [, position.1]; style [, scale, original_context, dynamic_factor]) -> y
//   x, y      (n_tokens, heads, head_dim)
//   inv_freq  f32 (n_freq): radians per position, in the file so that every build has the same; or two
//             lists of them, f32 (2 * n_freq), see below
//   A head begins with one section per position input, 2 * n_freq elements each; section s of token t is
//   rotated by position.s[t] times the frequencies (Su et al. 2021, eq. 34). What follows the sections
//   passes through as it is; with two sections nothing may.
//   style     "neox": element i of a section pairs with i + n_freq; "interleaved": 2i with 2i + 1
//   scale     cos and sin are multiplied by it (Peng et al. 2023, YaRN, section 3.4); absent: 1
//
//   The frequencies may depend on the session's context, which is fixed when the session is created:
//   original_context   absent or 0: they do not; inv_freq is (n_freq) and dynamic_factor absent or 0.
//   dynamic_factor f   with original_context o: inv_freq is (n_freq), n_freq at least 2. In a context c
//                      above o, frequency i is multiplied by r^(-i / (n_freq - 1)), r = f * c / o -
//                      (f - 1): dynamic NTK scaling. f is at least 1.
//     absent or 0      with original_context o: inv_freq is (2 * n_freq). Its first half serves contexts
//                      up to o, the second half longer ones (Ding et al. 2024, LongRoPE).
#include <cstring>

#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

constexpr double kMaxContext = 1 << 30;

RopeSpec SpecOf(const Node& node) {
  RopeSpec spec;
  spec.inv_freq = node.inputs[1];
  spec.scale = RealOf(node, "scale");
  spec.original_context = IntOf(node, "original_context");
  spec.dynamic_factor = RealOf(node, "dynamic_factor");
  return spec;
}

// The length of inv_freq is what says how much of a head is rotated.
int64_t CheckFrequencies(NodeCheck& check) {
  const int64_t original = check.Int("original_context");
  const double factor = check.Real("dynamic_factor");
  const ValueInfo& list = check.Input(1);
  const int64_t length = list.shape.size() == 1 ? list.shape[0] : 0;
  check.ExpectVector(1, length);
  if (factor != 0 && original == 0) check.Fail("'dynamic_factor' goes with 'original_context'");
  if (factor != 0 && factor < 1) {
    check.Fail("'dynamic_factor': expected at least 1, found " + std::to_string(factor));
  }
  if (factor != 0 && length < 2) check.Fail("'dynamic_factor' needs at least 2 frequencies");
  if (original == 0 || factor != 0) return length;
  if (length % 2 != 0) {
    check.Fail("'original_context' without 'dynamic_factor': expected two lists of frequencies, "
               "found " + std::to_string(length) + " numbers");
  }
  return length / 2;
}

void Infer(NodeCheck& check) {
  const int64_t head_dim = check.ExpectActivation(0, 3);
  const auto sections = static_cast<int64_t>(check.n_inputs() - 2);
  const int64_t n_freq = CheckFrequencies(check);
  const bool fits = n_freq > 0 && n_freq <= head_dim / (2 * sections);
  if (!fits || (sections == 2 && 4 * n_freq != head_dim)) {
    check.Fail("head_dim " + std::to_string(head_dim) + " cannot be cut into " +
               std::to_string(sections) + (sections == 1 ? " section" : " sections") + " of 2 * " +
               std::to_string(n_freq) + " elements");
  }
  check.ExpectInput(2, "position.0");
  if (sections == 2) check.ExpectInput(3, "position.1");
  check.Output(check.Input(0).shape);
}

using RopeKernel = decltype(KernelTable::rope_neox);

template <RopeKernel KernelTable::*kKernel>
void RotateRow(const StepContext& c, const Step& step, size_t t, float* y) {
  const size_t n_freq = step.rope->n_freq;
  for (size_t s = 0; s < step.inputs.size(); ++s) {
    const auto position = static_cast<size_t>(c.inputs.positions[s][c.begin + t]);
    (c.kernels.*kKernel)(y + s * 2 * n_freq, step.out.head_stride, step.out.heads, n_freq,
                         step.rope->cosines.data() + position * n_freq,
                         step.rope->sines.data() + position * n_freq);
  }
}

template <RopeKernel KernelTable::*kKernel>
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
      RotateRow<kKernel>(c, step, t, y + t * y_stride);
    }
  });
}

void PlanRope(PlanBuilder& builder, const Node& node) {
  const bool is_neox = TextOf(node, "style") == "neox";
  Step& step = builder.AddStep(node, is_neox ? Run<&KernelTable::rope_neox>
                                             : Run<&KernelTable::rope_interleaved>);
  step.rope = builder.RopeTableOf(SpecOf(node));
  builder.SetOutput(step, node, step.in[0].width, step.in[0].heads);
}

}  // namespace

Op RopeOp() {
  using Type = AttributeSpec::Type;
  return {"rope",
          3,
          4,
          1,
          {{"style", Type::kText, 0, 0, {"neox", "interleaved"}},
           {"scale", Type::kReal, 1e-3, 1e3, {}, 1.0},
           {"original_context", Type::kInt, 0, kMaxContext, {}, int64_t{0}},
           {"dynamic_factor", Type::kReal, 0, 1e6, {}, 0.0}},
          Infer,
          PlanRope};
}

}  // namespace glint
