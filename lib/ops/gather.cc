// gather(x, index) -> y
//   x, y   (n_tokens, k)
//   index  plain i32 (k): y[t][i] = x[t][index[i]]. Entries are 0 to k - 1, in any order. It brings
//          activations into the order of a matrix whose columns were sorted by quantization group
//          (act-order of GPTQ, docs/QUANT.md).
#include "lib/error.h"
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void Infer(NodeCheck& check) {
  const int64_t k = check.ExpectActivation(0, 2);
  const ValueInfo& index = check.Input(1);
  if (!index.tensor || index.dtype != DType::kI32 || index.shape != Shape{k}) {
    check.Fail("index: expected tensor i32 " + ToString({k}) + ", found " +
               Info(index.dtype).name + " " + ToString(index.shape));
  }
  check.Output({kTokens, k});
}

void Run(const StepContext& c, const Step& step) {
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  const size_t x_stride = c.Stride(step.in[0]), y_stride = c.Stride(step.out);
  ForPanels(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const float* from = x + t * x_stride;
      float* to = y + t * y_stride;
      for (size_t i = 0; i < step.out.width; ++i) to[i] = from[step.index[i]];
    }
    if (step.quantized_out) QuantizeRows(c, step, begin, end);
  });
}

// The only op that computes an address from a tensor's contents: they are checked here, once.
void PlanGather(PlanBuilder& builder, const Node& node) {
  const Tensor& tensor = builder.TensorOf(node.inputs[1]);
  const uint64_t k = tensor.shape[0];
  for (uint64_t i = 0; i < k; ++i) {
    const int32_t entry = tensor.As<int32_t>()[i];
    if (entry >= 0 && static_cast<uint64_t>(entry) < k) continue;
    throw Error("tensor " + Quoted(tensor.name) + ": entry " + std::to_string(i) +
                ": expected 0 to " + std::to_string(k - 1) + ", found " + std::to_string(entry));
  }
  Step& step = builder.AddStep(node, Run);
  step.index = tensor.As<int32_t>();
  step.makes_rows = true;
  builder.SetOutput(step, node, k);
}

}  // namespace

Op GatherOp() { return {"gather", 2, 2, 1, {}, Infer, PlanGather}; }

}  // namespace glint
