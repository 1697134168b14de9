// Block coordinate descent after GPTQ's walk. The walk rounds each block for the sake of the
// columns before it; here each is rounded once more for the sake of all others. With the rest
// fixed, the error as a function of one block's weights q is a parabola, (y - q) H_bb (y - q)^T and
// a constant, whose lowest point y follows from G = dW H: the walk's own inner step then looks for
// the best q around y and it is taken if it beats the present one. So the error can only fall.
#include <algorithm>

#include "formats/convert/blas.h"
#include "formats/convert/gptq_band.h"
#include "formats/convert/small_triangle.h"
#include "lib/error.h"

namespace glint {

BlockFactors::BlockFactors(const GptqPlan& plan) : stride_(Info(plan.layout.dtype).block) {
  const Hessian& hessian = plan.factor.hessian();
  h_.resize(plan.blocks.size() * stride_ * stride_);
  m_.resize(h_.size());
  weights_.resize(plan.blocks.size() * stride_);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const GptqBlock& block = plan.blocks[b];
    float* const h = &h_[b * stride_ * stride_];
    for (size_t i = 0; i < block.n; ++i) {
      const size_t row = plan.factor.Column(block.place + i);
      for (size_t j = 0; j < block.n; ++j) {
        h[i * stride_ + j] = hessian.At(row, plan.factor.Column(block.place + j));
      }
      h[i * stride_ + i] += plan.factor.Damping(row);
    }
    SmallTriangle triangle(h, stride_, block.n);
    // A part of a matrix whose factor exists.
    if (!triangle.Decompose()) throw Error("a block of a positive definite matrix is not one");
    triangle.Invert();
    triangle.Normalize(&weights_[b * stride_]);
    triangle.Store(&m_[b * stride_ * stride_], stride_);
  }
}

namespace {

// A block's numbers for 16 rows.
using BlockRows = float[kLargestBlock * kTileRows];

// G (n, kBandRows) += H[:][begin, end) times `change` (end - begin, kBandRows), for the rows of G
// in [from, begin) and [end, to): what lies between is not touched.
void AddOthers(const GptqPlan& plan, size_t begin, size_t end, size_t from, size_t to,
               const float* change, GptqBand& band) {
  const Hessian& h = plan.factor.hessian();
  const size_t stride = plan.factor.stride(), k = end - begin;
  if (from < begin) {
    AddProduct(begin - from, band.width, k, 1.0f, h.Row(from) + begin, stride, change, kBandRows,
               &band.values[from * kBandRows], kBandRows);
  }
  if (end < to) {
    AddTransposedProduct(to - end, band.width, k, 1.0f, h.Row(begin) + end, stride, change,
                         kBandRows, &band.values[end * kBandRows], kBandRows);
  }
}

// G += the damped H of a block times `change` (columns of the block, kBandRows).
void AddOwn(const GptqPlan& plan, const BlockFactors& factors, size_t b, const float* change,
            GptqBand& band) {
  const GptqBlock& block = plan.blocks[b];
  const float* const h = factors.H(b);
  for (size_t i = 0; i < block.n; ++i) {
    float* const g = &band.values[plan.factor.Column(block.place + i) * kBandRows];
    for (size_t j = 0; j < block.n; ++j) {
      const size_t column = plan.factor.Column(block.place + j);
      const float f = h[i * factors.stride() + j];
      const float* const from = change + (column - block.column) * kBandRows;
      for (size_t r = 0; r < band.width; ++r) g[r] += f * from[r];
    }
  }
}

// The place in plan.blocks of each block by column.
std::vector<size_t> BlocksByColumn(const GptqPlan& plan) {
  const size_t size = Info(plan.layout.dtype).block;
  std::vector<size_t> places((plan.n() + size - 1) / size);
  for (size_t b = 0; b < plan.blocks.size(); ++b) places[plan.blocks[b].column / size] = b;
  return places;
}

// The lowest point of the parabola less the weights, in the order of the walk: H_bb^-1 (G - H_bb
// lost), where H_bb^-1 = M D M^T.
void FindTarget(const FeedbackBlock& factor, const float* h, const BlockRows& g,
                const BlockRows& lost, BlockRows& target) {
  BlockRows others, scaled;  // G without the block's own part; D M^T of it
  for (size_t i = 0; i < factor.n; ++i) {
    float sum[kTileRows];
    std::copy_n(g + i * kTileRows, kTileRows, sum);
    for (size_t j = 0; j < factor.n; ++j) {
      const float f = h[i * factor.stride + j];
      for (size_t r = 0; r < kTileRows; ++r) sum[r] -= f * lost[j * kTileRows + r];
    }
    std::copy_n(sum, kTileRows, others + i * kTileRows);
  }
  for (size_t j = 0; j < factor.n; ++j) {
    float sum[kTileRows];
    std::copy_n(others + j * kTileRows, kTileRows, sum);
    for (size_t i = j + 1; i < factor.n; ++i) {
      const float f = factor.factor[i * factor.stride + j];
      for (size_t r = 0; r < kTileRows; ++r) sum[r] += f * others[i * kTileRows + r];
    }
    for (size_t r = 0; r < kTileRows; ++r) scaled[j * kTileRows + r] = sum[r] / factor.weights[j];
  }
  for (size_t i = 0; i < factor.n; ++i) {
    float sum[kTileRows];
    std::copy_n(scaled + i * kTileRows, kTileRows, sum);
    for (size_t j = 0; j < i; ++j) {
      const float f = factor.factor[i * factor.stride + j];
      for (size_t r = 0; r < kTileRows; ++r) sum[r] += f * scaled[j * kTileRows + r];
    }
    std::copy_n(sum, kTileRows, target + i * kTileRows);
  }
}

// Chooses 16 rows of a block anew; the change of what is lost goes to `change` (block.n,
// kBandRows), by column.
void ChooseAnew(const GptqPlan& plan, const BlockFactors& factors, size_t b, size_t row,
                GptqBand& band, float* change) {
  const GptqBlock& block = plan.blocks[b];
  const FeedbackBlock factor = factors.Factor(plan, b);
  BlockRows g, lost, target;
  for (size_t i = 0; i < block.n; ++i) {
    const size_t at = plan.factor.Column(block.place + i) * kBandRows + row;
    std::copy_n(&band.values[at], kTileRows, g + i * kTileRows);
    std::copy_n(&band.lost[at], kTileRows, lost + i * kTileRows);
  }
  FindTarget(factor, factors.H(b), g, lost, target);
  BlockRows present;  // y - q of the present rounding; then y itself in target
  for (size_t i = 0; i < block.n; ++i) {
    const size_t column = plan.factor.Column(block.place + i);
    for (size_t r = 0; r < kTileRows; ++r) {
      float& t = target[i * kTileRows + r];
      present[i * kTileRows + r] = t + lost[i * kTileRows + r];
      if (row + r < band.n_rows) t += band.Weight(plan, row + r, column);
    }
  }
  float costs[kTileRows];
  FeedbackCosts(factor, present, costs);
  FeedbackResult result;
  const size_t scales = block.column / Info(plan.layout.dtype).block * kBandRows + row;
  EncodeFeedback(plan.book, factor,
                 {target, kTileRows, band.row_scales + row, &band.scales[scales]}, &result);
  bool chosen[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) {
    chosen[r] = row + r < band.n_rows && result.costs[r] < costs[r];
    if (chosen[r]) band.costs[row + r] -= static_cast<double>(costs[r]) - result.costs[r];
  }
  band.Keep(plan, block, row, result, chosen);
  for (size_t i = 0; i < block.n; ++i) {
    const size_t column = plan.factor.Column(block.place + i);
    float* const to = change + (column - block.column) * kBandRows + row;
    const float* const now = &band.lost[column * kBandRows + row];
    for (size_t r = 0; r < kTileRows; ++r) to[r] = now[r] - lost[i * kTileRows + r];
  }
}

// G = dW H, H damped.
void StartGradient(const GptqPlan& plan, const BlockFactors& factors, GptqBand& band) {
  std::fill(band.values.begin(), band.values.end(), 0.0f);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AddOwn(plan, factors, b, &band.lost[plan.blocks[b].column * kBandRows], band);
  }
  const size_t n = plan.n(), size = Info(plan.layout.dtype).block;
  for (size_t begin = 0; begin < n; begin += kGroupColumns) {
    const size_t end = std::min(n, begin + kGroupColumns);
    AddOthers(plan, begin, end, 0, n, &band.lost[begin * kBandRows], band);
    for (size_t at = begin; at < end; at += size) {
      AddOthers(plan, at, std::min(end, at + size), begin, end, &band.lost[at * kBandRows], band);
    }
  }
}

}  // namespace

void Sweep(const GptqPlan& plan, const BlockFactors& factors, size_t sweeps, GptqBand& band) {
  if (sweeps == 0) return;
  StartGradient(plan, factors, band);
  const std::vector<size_t> by_column = BlocksByColumn(plan);
  const size_t n = plan.n(), size = Info(plan.layout.dtype).block;
  float* const change = band.errors.data();
  for (size_t sweep = 0; sweep < sweeps; ++sweep) {
    const bool is_last = sweep + 1 == sweeps;  // then nobody reads G of the blocks that are done
    for (size_t begin = 0; begin < n; begin += kGroupColumns) {
      const size_t end = std::min(n, begin + kGroupColumns);
      for (size_t at = begin; at < end; at += size) {
        const size_t b = by_column[at / size], next = std::min(end, at + size);
        float* const own = change + (at - begin) * kBandRows;
        for (size_t row = 0; row < band.width; row += kTileRows) {
          ChooseAnew(plan, factors, b, row, band, own);
        }
        if (!is_last) AddOwn(plan, factors, b, own, band);
        AddOthers(plan, at, next, is_last ? at : begin, end, own, band);
      }
      AddOthers(plan, begin, end, is_last ? begin : 0, n, change, band);
    }
  }
}

}  // namespace glint
