// linear(x, weight [, bias]) -> y
//   x       (n_tokens, k)
//   weight  matrix (n, k), any matrix type
//   bias    f32 (n)
//   y       (n_tokens, n): y = x . weight^T + bias. Integer weights meet activations as bytes, made
//           once for all linears that read them (lib/ops/quantize.h). An activation function or a
//           residual that follows is done along with it, piece by piece ("epilogue").
#include <algorithm>

#include "lib/error.h"
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

using QuantizedMatmul = decltype(KernelTable::matmul_int8);
using FloatMatmul = decltype(KernelTable::matmul_f32);

// Which kernel multiplies by weights of a type; rows of types that are no matrices are empty.
struct MatmulRow {
  DType dtype;
  QuantizedMatmul KernelTable::*quantized;
  FloatMatmul KernelTable::*floating;
};
constexpr MatmulRow kMatmuls[kDTypeCount] = {
    {DType::kU8, nullptr, nullptr},
    {DType::kI32, nullptr, nullptr},
    {DType::kF32, nullptr, &KernelTable::matmul_f32},
    {DType::kF16, nullptr, &KernelTable::matmul_f16},
    {DType::kBF16, nullptr, &KernelTable::matmul_bf16},
    {DType::kInt8, &KernelTable::matmul_int8, nullptr},
    {DType::kInt4, &KernelTable::matmul_int4, nullptr},
    {DType::kInt4x, &KernelTable::matmul_int4x, nullptr},
    {DType::kInt4a, &KernelTable::matmul_int4a, nullptr},
    {DType::kInt3, nullptr, nullptr},
    {DType::kInt6, nullptr, nullptr},
};

const MatmulRow& MatmulOf(const MatrixView& matrix) {
  return kMatmuls[static_cast<size_t>(matrix.layout.dtype)];
}

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

// Tiles of 16 rows per task: several tasks per thread, so that a slow core holds nobody up, in even
// numbers, since wide targets take tiles in pairs.
size_t TilesPerTask(uint64_t tiles, size_t n_threads) {
  const uint64_t share = tiles / (n_threads * 8);
  return std::clamp<uint64_t>(share / 2 * 2, 2, 32);
}

// Calls fn(begin, end) over all tiles of the step's matrix, and the step's epilogue after each.
template <class Fn>
void ForTiles(const StepContext& c, const Step& step, const Fn& fn) {
  const MatrixLayout& layout = step.matrix.layout;
  const size_t per_task = TilesPerTask(layout.row_tiles, c.pool.size());
  c.pool.Run((layout.row_tiles + per_task - 1) / per_task, [&](size_t task, size_t) {
    const size_t begin = task * per_task, end = std::min<size_t>(layout.row_tiles, begin + per_task);
    fn(begin, end);
    if (!step.epilogue) return;
    const size_t row = begin * kTileRows;
    step.epilogue(c, step, row, std::min<size_t>(layout.rows, end * kTileRows) - row);
  });
}

void RunQuantized(const StepContext& c, const Step& step) {
  const QuantizedRows x = RowsOf(c, step.quantized_in);
  const auto matmul = c.kernels.*MatmulOf(step.matrix).quantized;
  float* y = c.Rows(step.out);
  ForTiles(c, step, [&](size_t begin, size_t end) {
    matmul(step.matrix, x, c.n, step.vectors[0], y, c.Stride(step.out), begin, end);
  });
}

void RunFloat(const StepContext& c, const Step& step) {
  const auto matmul = c.kernels.*MatmulOf(step.matrix).floating;
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  ForTiles(c, step, [&](size_t begin, size_t end) {
    matmul(step.matrix, x, c.Stride(step.in[0]), c.n, step.vectors[0], y, c.Stride(step.out), begin,
           end);
  });
}

// The kernels of int4, int4x and int3 add 64 to a table entry and need 7 bits (simd/kernels/int_dot-inl.h).
void CheckTable(const MatrixView& matrix, const std::string& name) {
  const DType dtype = matrix.layout.dtype;
  const bool is3 = dtype == DType::kInt3;
  if (dtype != DType::kInt4 && dtype != DType::kInt4x && !is3) return;
  for (size_t i = 0; i < (is3 ? 8u : 16u); ++i) {
    const int entry = matrix.Table()[i];
    if (entry >= -64 && entry <= 63) continue;
    throw Error("tensor " + Quoted(name) + ": table entry " + std::to_string(i) +
                ": expected -64 to 63, found " + std::to_string(entry));
  }
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
  step.takes_epilogue = true;
  builder.SetOutput(step, node, matrix.layout.rows);
}

}  // namespace

Op LinearOp() { return {"linear", 2, 3, 1, {}, Infer, PlanLinear}; }

}  // namespace glint
