// linear(x, weight [, bias]) -> y
//   x       (n_tokens, k)
//   weight  matrix (n, k), any matrix type
//   bias    f32 (n)
//   y       (n_tokens, n): y = x . weight^T + bias. Integer weights meet activations that are
//           quantized here, once for all their rows (simd/kernels.h: quantize_rows).
#include <algorithm>

#include "lib/error.h"
#include "lib/ops/op_rows.h"
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

// Where the quantized activations lie in the step's scratch memory.
struct Scratch {
  uint64_t scales, sums, bytes;
  Scratch(const MatrixLayout& layout, size_t rows) {
    const uint64_t blocks = layout.padded_cols / kActivationBlock;
    const auto align = [](uint64_t n) { return (n + 63) / 64 * 64; };
    scales = align(rows * layout.padded_cols);
    sums = scales + align(rows * blocks * sizeof(float));
    bytes = sums + rows * blocks * 2 * sizeof(int32_t);
  }
  QuantizedRows At(uint8_t* base) const {
    return {reinterpret_cast<int8_t*>(base), reinterpret_cast<float*>(base + scales),
            reinterpret_cast<int32_t*>(base + sums)};
  }
};

// Tiles of 16 rows per task: several tasks per thread, so that a slow core holds nobody up, in even
// numbers, since wide targets take tiles in pairs.
size_t TilesPerTask(uint64_t tiles, size_t n_threads) {
  const uint64_t share = tiles / (n_threads * 8);
  return std::clamp<uint64_t>(share / 2 * 2, 2, 32);
}

template <class Fn>
void ForTiles(const StepContext& c, uint64_t tiles, const Fn& fn) {
  const size_t per_task = TilesPerTask(tiles, c.pool.size());
  c.pool.Run((tiles + per_task - 1) / per_task, [&](size_t task, size_t) {
    fn(task * per_task, std::min<size_t>(tiles, (task + 1) * per_task));
  });
}

void RunQuantized(const StepContext& c, const Step& step) {
  const MatrixLayout& layout = step.matrix.layout;
  const QuantizedRows quantized = Scratch(layout, c.n).At(c.Scratch(step));
  const float* x = c.Rows(step.in[0]);
  const size_t x_stride = c.Stride(step.in[0]);
  const size_t panels = (c.n + kPanelTokens - 1) / kPanelTokens;
  c.pool.Run(panels, [&](size_t panel, size_t) {
    c.kernels.quantize_rows(x, x_stride, c.n, layout.cols, quantized, panel, panel + 1);
  });
  const auto matmul = c.kernels.*MatmulOf(step.matrix).quantized;
  float* y = c.Rows(step.out);
  ForTiles(c, layout.row_tiles, [&](size_t begin, size_t end) {
    matmul(step.matrix, quantized, c.n, step.vectors[0], y, c.Stride(step.out), begin, end);
  });
}

void RunFloat(const StepContext& c, const Step& step) {
  const auto matmul = c.kernels.*MatmulOf(step.matrix).floating;
  const float* x = c.Rows(step.in[0]);
  float* y = c.Rows(step.out);
  ForTiles(c, step.matrix.layout.row_tiles, [&](size_t begin, size_t end) {
    matmul(step.matrix, x, c.Stride(step.in[0]), c.n, step.vectors[0], y, c.Stride(step.out), begin,
           end);
  });
}

// The kernels of int4 and int4x add 64 to a table entry and need 7 bits (simd/kernels/int_dot-inl.h).
void CheckTable(const MatrixView& matrix, const std::string& name) {
  const DType dtype = matrix.layout.dtype;
  if (dtype != DType::kInt4 && dtype != DType::kInt4x) return;
  for (size_t i = 0; i < 16; ++i) {
    const int entry = matrix.Table()[i];
    if (entry >= -64 && entry <= 63) continue;
    throw Error("tensor " + Quoted(name) + ": table entry " + std::to_string(i) +
                ": expected -64 to 63, found " + std::to_string(entry));
  }
}

void PlanLinear(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, RunFloat);
  CheckTable(step.matrix, node.inputs[1]);
  builder.SetOutput(step, node, step.matrix.layout.rows);
  if (MatmulOf(step.matrix).quantized) {
    step.run = RunQuantized;
    const size_t rows = std::max(builder.options().chunk, builder.options().max_outputs);
    builder.SetScratch(step, Scratch(step.matrix.layout, rows).bytes);
  }
}

}  // namespace

Op LinearOp() { return {"linear", 2, 3, 1, {}, Infer, PlanLinear}; }

}  // namespace glint
