// The ops around a layer's experts (Shazeer et al. 2017, section 2; Jiang et al. 2024, section 2.1).
//
// route(logits; top_k, normalize) -> routing
//   logits     (n_tokens, n_experts)
//   routing    (n_tokens, 2 * top_k): top_k weights, then the numbers of the experts that they belong
//              to, as exact floats. Only ops that want a routing take it.
//   normalize  0 or 1. Of each token the experts with the top_k largest logits are chosen, the largest
//              first; of equal logits the one of the lower expert. With m the largest logit and
//              p[e] = exp(logits[e] - m), the weight of a chosen one is p[e] / S, where S is the sum
//              of all p, expert 0 first (0), or of the chosen ones', in their order (1). A token whose
//              logits have a nan, or no largest that is finite, has weights nan and experts 0, 1, ...
// combine(y, routing) -> out
//   y          (n_tokens, top_k * n): slot s of a token has columns s * n to (s + 1) * n
//   out        (n_tokens, n): weight[0] * y[0], then fma(weight[s], y[s], out) slot by slot
// gate(x, logit) -> y
//   x, y       (n_tokens, n); logit (n_tokens, 1): y = x * g with g = 1 / (1 + exp(-logit)), rounded
#include <algorithm>
#include <limits>

#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

// What y = a * x becomes as an fma without changing a bit: it has no effect even on a zero's sign.
constexpr float kMinusZero = -0.0f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

void InferRoute(NodeCheck& check) {
  const int64_t n_experts = check.ExpectActivation(0, 2), top_k = check.Int("top_k");
  if (n_experts > kMaxExperts) {
    check.Fail(std::to_string(n_experts) + " experts; the limit is " + std::to_string(kMaxExperts));
  }
  if (top_k > n_experts) {
    check.Fail("cannot choose " + std::to_string(top_k) + " of " + std::to_string(n_experts) +
               " experts");
  }
  check.OutputRouting({top_k, n_experts});
}

// The largest of n logits, or nan if there is a nan or it is not finite.
float LargestOf(const float* logits, size_t n) {
  float largest = -kInfinity;
  for (size_t e = 0; e < n; ++e) {
    if (logits[e] != logits[e]) return logits[e];
    largest = std::max(largest, logits[e]);
  }
  return largest + (largest - largest);
}

// The expert that comes after `before` in the order of choice; before == n: the first one. Logits
// without nan.
size_t NextExpert(const float* logits, size_t n, size_t before) {
  size_t best = n;
  for (size_t e = 0; e < n; ++e) {
    const bool is_left = before == n || logits[e] < logits[before] ||
                         (logits[e] == logits[before] && e > before);
    if (is_left && (best == n || logits[e] > logits[best])) best = e;
  }
  return best;
}

template <bool kNormalize>
void RouteToken(const float* logits, size_t n_experts, size_t top_k, float* weights) {
  float* experts = weights + top_k;
  const float largest = LargestOf(logits, n_experts);
  if (largest != largest) {
    for (size_t s = 0; s < top_k; ++s) {
      weights[s] = largest;
      experts[s] = static_cast<float>(s);
    }
    return;
  }
  size_t expert = n_experts;
  float sum = 0;
  for (size_t s = 0; s < top_k; ++s) {
    expert = NextExpert(logits, n_experts, expert);
    weights[s] = Exp(logits[expert] - largest);
    experts[s] = static_cast<float>(expert);
    if (kNormalize) sum += weights[s];
  }
  for (size_t e = 0; !kNormalize && e < n_experts; ++e) sum += Exp(logits[e] - largest);
  for (size_t s = 0; s < top_k; ++s) weights[s] /= sum;
}

template <bool kNormalize>
void RunRoute(const StepContext& c, const Step& step) {
  const ActivationRef& logits = step.in[0];
  const float* x = c.Rows(logits);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(logits), y_stride = c.Stride(step.out);
  // An exponential takes about as long as moving 64 floats.
  ForRows(c.pool, c.n, 64 * logits.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      RouteToken<kNormalize>(x + t * x_stride, logits.width, step.top_k, y + t * y_stride);
    }
  });
}

void PlanRoute(PlanBuilder& builder, const Node& node) {
  const bool normalize = std::get<int64_t>(node.attributes.at("normalize")) != 0;
  Step& step = builder.AddStep(node, normalize ? RunRoute<true> : RunRoute<false>);
  step.top_k = static_cast<size_t>(std::get<int64_t>(node.attributes.at("top_k")));
  builder.SetOutput(step, node, 2 * step.top_k);
}

void InferCombine(NodeCheck& check) {
  const int64_t width = check.ExpectActivation(0, 2);
  const int64_t top_k = check.ExpectRouting(1).top_k;
  if (width % top_k != 0) {
    check.Fail("width " + std::to_string(width) + " is not " + std::to_string(top_k) +
               " experts * n");
  }
  check.Output({kTokens, width / top_k});
}

void RunCombine(const StepContext& c, const Step& step) {
  const float* y = c.Rows(step.in[0]);
  const float* weights = c.Rows(step.in[1]);
  float* out = c.Rows(step.out);
  const size_t y_stride = c.Stride(step.in[0]), weights_stride = c.Stride(step.in[1]);
  const size_t out_stride = c.Stride(step.out), n = step.out.width;
  ForRows(c.pool, c.n, step.in[0].width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      float* to = out + t * out_stride;
      std::fill(to, to + n, kMinusZero);
      for (size_t s = 0; s < step.top_k; ++s) {
        c.kernels.add_scaled(y + t * y_stride + s * n, to, weights[t * weights_stride + s], to, n);
      }
    }
  });
}

void PlanCombine(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, RunCombine);
  step.top_k = step.in[1].width / 2;
  builder.SetOutput(step, node, step.in[0].width / step.top_k);
}

void InferGate(NodeCheck& check) {
  const int64_t dim = check.ExpectActivation(0, 2);
  if (check.ExpectActivation(1, 2) != 1) {
    check.Fail("logit: expected (n_tokens, 1), found " + ToString(check.Input(1).shape));
  }
  check.Output({kTokens, dim});
}

void RunGate(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  const float* logits = c.Rows(step.in[1]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), logit_stride = c.Stride(step.in[1]);
  const size_t y_stride = c.Stride(step.out), n = step.out.width;
  ForRows(c.pool, c.n, n, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      float* to = y + t * y_stride;
      std::fill(to, to + n, kMinusZero);
      const float gate = 1.0f / (1.0f + Exp(-logits[t * logit_stride]));
      c.kernels.add_scaled(x + t * x_stride, to, gate, to, n);
    }
  });
}

void PlanGate(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, RunGate);
  builder.SetOutput(step, node, step.in[0].width);
}

}  // namespace

Op RouteOp() {
  return {"route",
          1,
          1,
          1,
          {{"top_k", AttributeSpec::Type::kInt, 1, kMaxTopK},
           {"normalize", AttributeSpec::Type::kInt, 0, 1}},
          InferRoute,
          PlanRoute};
}

Op CombineOp() { return {"combine", 2, 2, 1, {}, InferCombine, PlanCombine}; }

Op GateOp() { return {"gate", 2, 2, 1, {}, InferGate, PlanGate}; }

}  // namespace glint
