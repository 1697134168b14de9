// routed_linear(x, routing, weight_0, weight_1, ...) -> y
//   routing   of op route; it chooses top_k among as many experts as there are weights
//   weight_e  matrix (n, k) of expert e, any matrix type; all of one shape
//   x         (n_tokens, k): every expert of a token reads its row; or (n_tokens, top_k * k): the
//             expert of slot s reads columns s * k to (s + 1) * k
//   y         (n_tokens, top_k * n): columns s * n to (s + 1) * n are x . weight_e^T with e the
//             expert of slot s. With top_k > 1, k and top_k * k tell the two forms of x apart.
// Weights and x meet as in op linear, bit for bit; so does what is done along with it. The slots of a
// chunk are sorted by expert, and each expert that has any multiplies its slots as one matrix, so its
// weights are read once for all of them, and not at all if it has none. The tiles of all experts are
// one list of tasks.
#include <algorithm>
#include <cstring>

#include "lib/checked_math.h"
#include "lib/ops/matmul.h"
#include "lib/ops/op_rows.h"
#include "lib/ops/quantize.h"
#include "lib/ops/rows.h"
#include "lib/plan_builder.h"

namespace glint {
namespace {

// Rows that a task multiplies at a time: results go through a buffer of so many, since in y they are
// not equally far apart. Fewer than kManyTokens are never left over, for which the codes of x would be
// others (BiasedCodes).
constexpr size_t kPieceRows = 240;
constexpr size_t kMostPieceRows = kPieceRows + kManyTokens - 1;
// Tiles of a task that has such a buffer: it should stay in the L2 cache.
constexpr size_t kPieceTiles = 8;
// A tile of weights costs about as much as so many rows that meet it, however few they are.
constexpr size_t kTileCost = 8;

void Infer(NodeCheck& check) {
  const int64_t width = check.ExpectActivation(0, 2);
  const NodeCheck::Routing routing = check.ExpectRouting(1);
  const auto n_weights = static_cast<int64_t>(check.n_inputs()) - 2;
  if (n_weights != routing.n_experts) {
    check.Fail(std::to_string(n_weights) + " weights, but a routing among " +
               std::to_string(routing.n_experts) + " experts");
  }
  const Shape& shape = check.Input(2).shape;
  for (size_t i = 2; i < check.n_inputs(); ++i) {
    const ValueInfo& weight = check.Input(i);
    if (!weight.tensor || weight.shape.size() != 2 || weight.shape != shape) {
      check.Fail("weight " + std::to_string(i - 2) + ": expected a matrix" +
                 (i == 2 ? "" : " " + ToString(shape) + " as weight 0") + ", found " +
                 (weight.tensor ? "tensor " : "") + ToString(weight.shape));
    }
  }
  const bool has_parts = width % routing.top_k == 0 && width / routing.top_k == shape[1];
  if (width != shape[1] && !has_parts) {
    check.Fail("weights of " + std::to_string(shape[1]) + " columns: expected as many inputs, or " +
               std::to_string(routing.top_k) + " times as many, found " + std::to_string(width));
  }
  check.Output({kTokens, routing.top_k * shape[0]});
}

// One expert that has slots.
struct Group {
  uint32_t expert;
  uint32_t begin, n;     // in the sorted list of slots
  uint32_t panel_begin;  // panels of the groups before it
  uint32_t task_begin;   // tasks of the groups before it
  uint32_t tiles_per_task;
};

struct Kinds {
  bool quantized = false, floating = false;
};

Kinds KindsOf(const std::vector<MatrixView>& experts) {
  Kinds kinds;
  for (const MatrixView& expert : experts) {
    (MatmulOf(expert).quantized ? kinds.quantized : kinds.floating) = true;
  }
  return kinds;
}

// What a step needs for at most `rows` tokens, as offsets into its scratch memory.
struct ScratchLayout {
  uint64_t ends = 0;       // uint32 (n_experts): where each expert's slots end among the sorted
  uint64_t slots = 0;      // uint32 (rows * top_k): t * top_k + s, sorted by expert, then by t
  uint64_t groups = 0;     // Group (of as many experts as can have slots)
  uint64_t quantized = 0;  // QuantizedLayout of rows * top_k rows, sorted
  uint64_t floats = 0;     // f32 (rows * top_k, k), sorted
  uint64_t panels = 0;     // per thread f32 (kPanelTokens, k)
  uint64_t pieces = 0;     // per thread f32 (piece_rows, kPieceTiles * kTileRows)
  uint64_t bytes = 0;
  uint64_t piece_rows = 0;

  ScratchLayout(const Step& step, uint64_t rows, uint64_t n_threads, Kinds kinds) {
    const uint64_t k = step.matrix.layout.cols;
    const uint64_t n_slots = CheckedTimes(rows, step.top_k, kWhat);
    const bool sorts_rows = rows > 1;  // one token's rows are multiplied where they lie
    piece_rows = sorts_rows ? std::min<uint64_t>(rows, kMostPieceRows) : 0;
    ends = Take(step.experts.size(), sizeof(uint32_t));
    slots = Take(n_slots, sizeof(uint32_t));
    groups = Take(std::min<uint64_t>(step.experts.size(), n_slots), sizeof(Group));
    CheckedTimes(n_slots, CheckedPlus(k, kActivationBlock, kWhat), kWhat);
    quantized = Take(kinds.quantized ? QuantizedLayout(k, n_slots).bytes : 0, 1);
    floats = Take(kinds.floating && sorts_rows ? n_slots : 0, k * sizeof(float));
    panels = Take(kinds.quantized && sorts_rows ? n_threads * kPanelTokens : 0, k * sizeof(float));
    pieces = Take(n_threads * piece_rows, kPieceTiles * kTileRows * sizeof(float));
  }

 private:
  static constexpr char kWhat[] = "experts";
  uint64_t Take(uint64_t n, uint64_t size) {
    const uint64_t begin = bytes;
    bytes = CheckedPlus(bytes, CheckedTimes(n, size, kWhat), kWhat);
    bytes = CheckedPlus(bytes, 63, kWhat) / 64 * 64;
    return begin;
  }
};

uint64_t MostRows(const PlanOptions& options) {
  return std::max(options.chunk, options.max_outputs);
}

class RoutedRun {
 public:
  RoutedRun(const StepContext& c, const Step& step)
      : c_(c),
        step_(step),
        kinds_(KindsOf(step.experts)),
        layout_(step, MostRows(c.plan.options()), c.plan.options().n_threads, kinds_),
        scratch_(c.Scratch(step)),
        ends_(At<uint32_t>(layout_.ends)),
        slots_(At<uint32_t>(layout_.slots)),
        groups_(At<Group>(layout_.groups)),
        x_(c.Rows(step.in[0])),
        x_stride_(c.Stride(step.in[0])),
        k_(step.matrix.layout.cols),
        blocks_((k_ + kActivationBlock - 1) / kActivationBlock),
        has_parts_(step.in[0].width != k_) {
    const QuantizedLayout quantized(k_, MostRows(c.plan.options()) * step.top_k);
    quantized_ = {At<int8_t>(layout_.quantized), At<float>(layout_.quantized + quantized.scales),
                  At<int16_t>(layout_.quantized + quantized.sums)};
  }

  void Run() {
    SortSlots();
    MakeGroups();
    PrepareRows();
    const Group& last = groups_[n_groups_ - 1];
    c_.pool.Run(last.task_begin + TasksOf(last), [&](size_t task, size_t worker) {
      const Group& group = GroupOf(task, &Group::task_begin);
      const size_t begin = (task - group.task_begin) * group.tiles_per_task;
      const size_t end =
          std::min<size_t>(begin + group.tiles_per_task, step_.matrix.layout.row_tiles);
      if (group.n == 1) return MultiplyRow(group, begin, end);
      MultiplyRows(group, begin, end, worker);
    });
  }

 private:
  template <class T>
  T* At(uint64_t offset) const {
    return reinterpret_cast<T*>(scratch_ + offset);
  }

  // Counting sort.
  void SortSlots() {
    const float* experts = c_.Rows(step_.in[1]) + step_.top_k;
    const size_t stride = c_.Stride(step_.in[1]);
    const auto expert = [&](size_t slot) {
      return static_cast<size_t>(experts[slot / step_.top_k * stride + slot % step_.top_k]);
    };
    const size_t n_experts = step_.experts.size(), n = c_.n * step_.top_k;
    std::fill(ends_, ends_ + n_experts, 0u);
    for (size_t slot = 0; slot < n; ++slot) ++ends_[expert(slot)];
    uint32_t begin = 0;
    for (size_t e = 0; e < n_experts; ++e) {
      const uint32_t count = ends_[e];
      ends_[e] = begin;
      begin += count;
    }
    for (size_t slot = 0; slot < n; ++slot) slots_[ends_[expert(slot)]++] = uint32_t(slot);
  }

  void MakeGroups() {
    uint32_t begin = 0;
    uint64_t cost = 0;
    for (uint32_t e = 0; e < step_.experts.size(); ++e) {
      const uint32_t n = ends_[e] - begin;
      if (n != 0) groups_[n_groups_++] = {e, begin, n, 0, 0, 0};
      if (n != 0) cost += step_.matrix.layout.row_tiles * (n + kTileCost);
      begin = ends_[e];
    }
    // The longest tasks first, so that all threads finish together.
    std::sort(groups_, groups_ + n_groups_, [](const Group& a, const Group& b) {
      return a.n != b.n ? a.n > b.n : a.expert < b.expert;
    });
    uint32_t panels = 0, tasks = 0;
    for (size_t i = 0; i < n_groups_; ++i) {
      Group& group = groups_[i];
      const size_t tiles = TilesPerTask(cost / (group.n + kTileCost), c_.pool.size());
      group.tiles_per_task = uint32_t(group.n == 1 ? tiles : std::min(tiles, kPieceTiles));
      group.panel_begin = panels;
      group.task_begin = tasks;
      panels += PanelsOf(group);
      tasks += TasksOf(group);
    }
  }

  static uint32_t PanelsOf(const Group& group) {
    return uint32_t((group.n + kPanelTokens - 1) / kPanelTokens);
  }
  uint32_t TasksOf(const Group& group) const {
    const uint64_t tiles = step_.matrix.layout.row_tiles;
    return uint32_t((tiles + group.tiles_per_task - 1) / group.tiles_per_task);
  }
  // The group that holds panel or task `i` of all.
  const Group& GroupOf(size_t i, uint32_t Group::*begin) const {
    const Group* after =
        std::upper_bound(groups_, groups_ + n_groups_, i,
                         [&](size_t value, const Group& group) { return value < group.*begin; });
    return after[-1];
  }

  const float* RowOf(uint32_t slot) const {
    const size_t part = has_parts_ ? slot % step_.top_k * k_ : 0;
    return x_ + slot / step_.top_k * x_stride_ + part;
  }
  // The quantized rows from a sorted slot on.
  QuantizedRows QuantizedAt(size_t row) const {
    return {quantized_.codes + row * blocks_ * kActivationBlock, quantized_.scales + row * blocks_,
            quantized_.sums + row * blocks_ * kBlockSums};
  }
  // One token whose experts all read the same row: it is quantized once.
  bool IsOneRow() const { return c_.n == 1 && !has_parts_; }

  // Brings the rows that an expert reads together.
  void PrepareRows() {
    if (IsOneRow()) {
      if (!kinds_.quantized) return;
      c_.kernels.quantize_rows(x_, x_stride_, 1, k_, false, quantized_, 0, 1);
      return;
    }
    const Group& last = groups_[n_groups_ - 1];
    const size_t n_panels = last.panel_begin + PanelsOf(last);
    const size_t per_task = std::max<size_t>(1, kTaskFloats / (kPanelTokens * k_));
    c_.pool.Run((n_panels + per_task - 1) / per_task, [&](size_t task, size_t worker) {
      const size_t end = std::min(n_panels, (task + 1) * per_task);
      for (size_t panel = task * per_task; panel < end; ++panel) {
        const Group& group = GroupOf(panel, &Group::panel_begin);
        PreparePanel(group, (panel - group.panel_begin) * kPanelTokens, worker);
      }
    });
  }

  // The rows of a group from `row` on, a panel of them.
  void PreparePanel(const Group& group, size_t row, size_t worker) {
    const size_t n = std::min(kPanelTokens, group.n - row), first = group.begin + row;
    const MatrixView& matrix = step_.experts[group.expert];
    const bool is_quantized = MatmulOf(matrix).quantized != nullptr;
    if (group.n == 1 && !is_quantized) return;  // read where it lies
    const float* rows = RowOf(slots_[first]);
    if (group.n != 1) {
      float* together = is_quantized ? At<float>(layout_.panels) + worker * kPanelTokens * k_
                                     : At<float>(layout_.floats) + first * k_;
      for (size_t i = 0; i < n; ++i) {
        std::memcpy(together + i * k_, RowOf(slots_[first + i]), k_ * sizeof(float));
      }
      rows = together;
    }
    if (!is_quantized) return;
    c_.kernels.quantize_rows(rows, k_, n, k_, BiasedCodes(c_.kernels, matrix.layout.dtype, group.n),
                             QuantizedAt(first), 0, 1);
  }

  // y (n, rows of `matrix`), y_stride apart, of n rows of a group from `row` on; tiles [begin, end).
  void Multiply(const Group& group, const MatrixView& matrix, size_t row, size_t n, float* y,
                size_t y_stride, size_t begin, size_t end) const {
    const MatmulKernel& kernel = MatmulOf(matrix);
    if (kernel.quantized) {
      const QuantizedRows x = QuantizedAt(IsOneRow() ? 0 : group.begin + row);
      return (c_.kernels.*kernel.quantized)(matrix, x, n, nullptr, y, y_stride, begin, end);
    }
    const float* x = group.n == 1 ? RowOf(slots_[group.begin])
                                  : At<float>(layout_.floats) + (group.begin + row) * k_;
    (c_.kernels.*kernel.floating)(matrix, x, k_, n, nullptr, y, y_stride, begin, end);
  }

  // Where the output of a slot is.
  float* OutputOf(uint32_t slot) const {
    return c_.Rows(step_.out) + slot / step_.top_k * c_.Stride(step_.out) + ColumnOf(slot);
  }
  size_t ColumnOf(uint32_t slot) const { return slot % step_.top_k * step_.matrix.layout.rows; }

  void Finish(uint32_t slot, size_t column, size_t n) const {
    if (!step_.epilogue) return;
    const size_t token = slot / step_.top_k;
    step_.epilogue(c_, step_, token, token + 1, ColumnOf(slot) + column, n);
  }

  void MultiplyRow(const Group& group, size_t begin, size_t end) const {
    const MatrixView& matrix = step_.experts[group.expert];
    const uint32_t slot = slots_[group.begin];
    Multiply(group, matrix, 0, 1, OutputOf(slot), c_.Stride(step_.out), begin, end);
    const size_t column = begin * kTileRows;
    Finish(slot, column, std::min<size_t>(matrix.layout.rows, end * kTileRows) - column);
  }

  void MultiplyRows(const Group& group, size_t begin, size_t end, size_t worker) const {
    constexpr size_t kStride = kPieceTiles * kTileRows;
    const MatrixView tiles = TilesOf(step_.experts[group.expert], begin, end);
    float* piece = At<float>(layout_.pieces) + worker * layout_.piece_rows * kStride;
    for (size_t row = 0; row < group.n;) {
      const size_t rest = group.n - row, n = rest <= kMostPieceRows ? rest : kPieceRows;
      Multiply(group, tiles, row, n, piece, kStride, 0, end - begin);
      for (size_t i = 0; i < n; ++i) {
        const uint32_t slot = slots_[group.begin + row + i];
        const size_t column = begin * kTileRows, width = tiles.layout.rows;
        std::memcpy(OutputOf(slot) + column, piece + i * kStride, width * sizeof(float));
        Finish(slot, column, width);
      }
      row += n;
    }
  }

  const StepContext& c_;
  const Step& step_;
  const Kinds kinds_;
  const ScratchLayout layout_;
  uint8_t* const scratch_;
  uint32_t* const ends_;
  uint32_t* const slots_;
  Group* const groups_;
  size_t n_groups_ = 0;
  const float* const x_;
  const size_t x_stride_, k_, blocks_;
  const bool has_parts_;  // of each row of x, one for each slot
  QuantizedRows quantized_;
};

void Run(const StepContext& c, const Step& step) { RoutedRun(c, step).Run(); }

void PlanRoutedLinear(PlanBuilder& builder, const Node& node) {
  Step& step = builder.AddStep(node, Run);
  for (const std::string& name : WeightsOf(node)) {
    step.experts.push_back(builder.Matrix(name));
    CheckTable(step.experts.back(), name);
  }
  step.matrix = step.experts[0];
  step.top_k = step.in[1].width / 2;
  step.takes_epilogue = true;
  const PlanOptions& options = builder.options();
  // Slots are counted in 32 bits.
  const uint64_t rows = MostRows(options);
  if (CheckedTimes(rows, step.top_k, "experts") > UINT32_MAX) {
    throw Error("experts: " + std::to_string(rows) + " tokens at a time are too many");
  }
  const ScratchLayout layout(step, rows, options.n_threads, KindsOf(step.experts));
  builder.SetOutput(step, node, step.top_k * step.matrix.layout.rows);
  builder.SetScratch(step, layout.bytes);
}

}  // namespace

Op RoutedLinearOp() {
  return {"routed_linear",  3, kMaxExperts + 2, 1, {}, Infer, PlanRoutedLinear,
          {2, kMaxExperts}};
}

}  // namespace glint
