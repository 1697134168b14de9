#include "lib/ops/low_rank.h"

#include <algorithm>

#include "lib/checked_math.h"
#include "lib/error.h"
#include "lib/ops/matmul.h"

namespace glint {
namespace {

// Tokens whose deltas of a task's rows lie in scratch memory at a time: 64 KiB of them.
constexpr size_t kPieceTokens = 32;
constexpr size_t kDeltaStride = kMaxTaskTiles * kTileRows;
constexpr char kWhat[] = "adapters";

// Floats between the tokens of z of one change.
size_t StrideOf(const LowRank& change) {
  return change.a.layout.row_tiles * kTileRows;
}

size_t MostRows(const PlanOptions& options) {
  return std::max(options.chunk, options.max_outputs);
}

// What a step has in its scratch memory, in floats: z of each change (rows, StrideOf), and of each
// worker deltas (kPieceTokens, kDeltaStride).
uint64_t ScratchFloats(const Step& step, const PlanOptions& options) {
  uint64_t row = 0;
  for (const LowRank& change : step.low_rank) row = CheckedPlus(row, StrideOf(change), kWhat);
  return CheckedPlus(CheckedTimes(row, MostRows(options), kWhat),
                     CheckedTimes(options.n_threads, kPieceTokens * kDeltaStride, kWhat), kWhat);
}

float* DeltasOf(const StepContext& c, const Step& step, size_t worker) {
  return reinterpret_cast<float*>(c.Scratch(step)) + worker * kPieceTokens * kDeltaStride;
}
float* FirstZ(const StepContext& c, const Step& step) {
  return DeltasOf(c, step, c.plan.options().n_threads);
}

// y (m, ...) = rows of tiles [begin, end) of a matrix of floats times x; row 0 of y is that of
// `begin`.
void Multiply(const StepContext& c, const MatrixView& matrix, const float* x, size_t x_stride,
              size_t m, float* y, size_t y_stride, size_t begin, size_t end) {
  const MatrixView tiles = TilesOf(matrix, begin, end);
  (c.kernels.*MatmulOf(matrix).floating)(tiles, x, x_stride, m, nullptr, y, y_stride, 0,
                                         end - begin);
}

// y += scale * b . z for those tiles of a change that are among [begin, end) of the weight's.
void AddChange(const StepContext& c, const Step& step, const LowRank& change, const float* z,
               size_t begin, size_t end, float* deltas) {
  const MatrixLayout& b = change.b.layout;
  const size_t first = change.first_row / kTileRows;
  const size_t from = std::max(begin, first);
  const size_t to = std::min<size_t>(end, first + b.row_tiles);
  if (from >= to) return;
  const size_t row = from * kTileRows;
  const size_t width = std::min<size_t>(to * kTileRows, change.first_row + b.rows) - row;
  const size_t y_stride = c.Stride(step.out), z_stride = StrideOf(change);
  float* const y = c.Rows(step.out) + row;
  for (size_t token = 0; token < c.n; token += kPieceTokens) {
    const size_t n = std::min(kPieceTokens, c.n - token);
    Multiply(c, change.b, z + token * z_stride, z_stride, n, deltas, kDeltaStride, from - first,
             to - first);
    for (size_t t = 0; t < n; ++t) {
      float* const out = y + (token + t) * y_stride;
      c.kernels.add_scaled(deltas + t * kDeltaStride, out, change.scale, out, width);
    }
  }
}

}  // namespace

void PlanLowRank(PlanBuilder& builder, const Node& node, Step& step) {
  const std::span<const LowRank> changes = builder.LowRankOf(node.inputs[1]);
  if (changes.empty()) return;
  step.low_rank.assign(changes.begin(), changes.end());
  step.label += "+lora";
  step.low_rank_in = step.in.size();
  step.in.push_back(builder.BeforeGather(node.inputs[0]));
  builder.SetScratch(step,
                     CheckedTimes(ScratchFloats(step, builder.options()), sizeof(float), kWhat));
}

void MultiplyByA(const StepContext& c, const Step& step) {
  const ActivationRef& in = step.in[step.low_rank_in];
  const float* const x = c.Rows(in);
  const size_t x_stride = c.Stride(in);
  size_t tiles = 0;
  for (const LowRank& change : step.low_rank) tiles += change.a.layout.row_tiles;
  const size_t pieces = (c.n + kPieceTokens - 1) / kPieceTokens;
  // A task is one tile of one a for a piece of the tokens: a has few rows.
  c.pool.Run(tiles * pieces, [&](size_t task, size_t) {
    const size_t token = task / tiles * kPieceTokens, n = std::min(kPieceTokens, c.n - token);
    size_t tile = task % tiles;
    float* z = FirstZ(c, step);
    const LowRank* change = step.low_rank.data();
    for (; tile >= change->a.layout.row_tiles; ++change) {
      tile -= change->a.layout.row_tiles;
      z += MostRows(c.plan.options()) * StrideOf(*change);
    }
    const size_t stride = StrideOf(*change);
    Multiply(c, change->a, x + token * x_stride, x_stride, n, z + token * stride + tile * kTileRows,
             stride, tile, tile + 1);
  });
}

void AddLowRank(const StepContext& c, const Step& step, size_t begin, size_t end, size_t worker) {
  const float* z = FirstZ(c, step);
  for (const LowRank& change : step.low_rank) {
    AddChange(c, step, change, z, begin, end, DeltasOf(c, step, worker));
    z += MostRows(c.plan.options()) * StrideOf(change);
  }
  if (!step.vectors[0]) return;
  const size_t row = begin * kTileRows;
  const size_t width = std::min<size_t>(step.matrix.layout.rows, end * kTileRows) - row;
  float* const y = c.Rows(step.out) + row;
  for (size_t t = 0; t < c.n; ++t) {
    float* const out = y + t * c.Stride(step.out);
    c.kernels.add_scaled(step.vectors[0] + row, out, 1.0f, out, width);
  }
}

}  // namespace glint
