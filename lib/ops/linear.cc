// linear(x, weight [, bias]) -> y
//   x       (n_tokens, k)
//   weight  matrix (n, k), any matrix type
//   bias    f32 (n)
//   y       (n_tokens, n): y = x . weight^T + bias. Integer weights meet activations as bytes, made
//           once for all linears that read them (lib/ops/quantize.h). An activation function or a
//           residual that follows is done along with it, piece by piece ("epilogue"). A session's
//           adapters may change the weight (lib/ops/low_rank.h).
#include <algorithm>

#include "lib/ops/low_rank.h"
#include "lib/ops/matmul.h"
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

void Infer(NodeCheck& check) {
  const int64_t k = check.ExpectActivation(0, 2);
  const ValueInfo& weight = check.Input(1);
  if (!weight.tensor || weight.shape.size() != 2 || weight.shape[1] != k) {
    check.Fail("weight: expected a matrix of " + std::to_string(k) + " columns, found " +
               ToString(weight.shape));
  }
  if (check.n_inputs() == 3) check.ExpectVector(2, weight.shape[0]);
  check.Output({kTokens, weight.shape[0]});
}

// Calls fn(begin, end) over all tiles of the step's matrix, which puts their products into the output;
// then adds what the step's changes give, and calls its epilogue, for the same tiles.
template <class Fn>
void ForTiles(const StepContext& c, const Step& step, const Fn& fn) {
  const MatrixLayout& layout = step.matrix.layout;
  const size_t per_task = TilesPerTask(layout.row_tiles, c.pool.size());
  if (!step.low_rank.empty()) MultiplyByA(c, step);
  c.pool.Run((layout.row_tiles + per_task - 1) / per_task, [&](size_t task, size_t worker) {
    const size_t begin = task * per_task, end = std::min<size_t>(layout.row_tiles, begin + per_task);
    fn(begin, end);
    if (!step.low_rank.empty()) AddLowRank(c, step, begin, end, worker);
    if (!step.epilogue) return;
    const size_t row = begin * kTileRows;
    step.epilogue(c, step, 0, c.n, row, std::min<size_t>(layout.rows, end * kTileRows) - row);
  });
}

// What the product itself adds: changes come before the bias.
const float* BiasOf(const Step& step) { return step.low_rank.empty() ? step.vectors[0] : nullptr; }

void RunQuantized(const StepContext& c, const Step& step) {
  const QuantizedRows x = RowsOf(c, step.quantized_in);
  const auto matmul = c.kernels.*MatmulOf(step.matrix).quantized;
  float* y = c.Rows(step.out);
  ForTiles(c, step, [&](size_t begin, size_t end) {
    matmul(step.matrix, x, c.n, BiasOf(step), y, c.Stride(step.out), begin, end);
  });
}

void RunFloat(const StepContext& c, const Step& step) {
  const auto matmul = c.kernels.*MatmulOf(step.matrix).floating;
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  ForTiles(c, step, [&](size_t begin, size_t end) {
    matmul(step.matrix, x, c.Stride(step.in[0]), c.n, BiasOf(step), y, c.Stride(step.out), begin, end);
  });
}

void PlanLinear(PlanBuilder& builder, const Node& node) {
  const MatrixView matrix = builder.Matrix(node.inputs[1]);
  CheckTable(matrix, node.inputs[1]);
  const bool is_quantized = MatmulOf(matrix).quantized != nullptr;
  QuantizedRef x;
  if (is_quantized) {
    x = builder.Quantized(node, node.inputs[0], matrix.layout.cols, matrix.layout.dtype);
  }
  Step& step = builder.AddStep(node, is_quantized ? RunQuantized : RunFloat);
  step.quantized_in = x;
  if (is_quantized) step.in.clear();
  PlanLowRank(builder, node, step);
  step.takes_epilogue = true;
  builder.SetOutput(step, node, matrix.layout.rows);
}

}  // namespace

Op LinearOp() { return {"linear", 2, 3, 1, {}, Infer, PlanLinear, {1, 1}}; }

}  // namespace glint
