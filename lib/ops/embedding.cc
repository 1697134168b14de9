// embedding(ids, weight) -> x
//   ids     graph input (n_tokens)
//   weight  matrix (vocab_size, dim), any matrix type
//   x       (n_tokens, dim): x[t] = weight[ids[t]], gathered from the interleave
#include "lib/ops/op_rows.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void Infer(NodeCheck& check) {
  check.ExpectInput(0, "ids");
  const ValueInfo& weight = check.Input(1);
  if (!weight.tensor || weight.shape.size() != 2) check.Fail("input 1: expected a matrix");
  check.Output({kTokens, weight.shape[1]});
}

void Run(const StepContext& c, const Step& step) {
  float* out = c.Rows(step.out);
  const size_t stride = c.Stride(step.out);
  const int32_t* ids = c.inputs.ids + c.begin;
  ForRows(c.pool, c.n, step.out.width, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      DecodeRow(step.matrix, static_cast<uint64_t>(ids[t]), out + t * stride);
    }
  });
}

void PlanEmbedding(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run);
  builder.SetOutput(step, node, step.matrix.layout.cols);
}

}  // namespace

Op EmbeddingOp() { return {"embedding", 2, 2, 1, {}, Infer, PlanEmbedding}; }

}  // namespace glint
