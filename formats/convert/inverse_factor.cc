#include "formats/convert/inverse_factor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "formats/convert/blas.h"
#include "formats/convert/small_triangle.h"
#include "lib/error.h"
#include "lib/fp_mode.h"

namespace glint {
namespace {

constexpr size_t kTile = 256;
constexpr size_t kUnit = 32, kHalf = 16;  // columns that stay together (of int4; of int4x)
constexpr double kLeastDamping = 1e-7, kMostDamping = 1.0;

size_t TileSize(size_t begin, size_t n) {
  return std::min(kTile, n - begin);
}

// The tile'th pair i >= j in order of i, then j.
struct TilePair {
  size_t i, j;
};
TilePair PairAt(size_t tile) {
  size_t i = 0;
  while (tile > i) tile -= ++i;
  return {i, tile};
}

// Sorts the groups of `size` columns within order[begin, end) by their mean diagonal, largest
// first.
void SortGroups(const Hessian& h, size_t size, size_t begin, size_t end,
                std::vector<uint32_t>& order) {
  struct Group {
    double mean;
    std::vector<uint32_t> columns;
  };
  std::vector<Group> groups;
  for (size_t i = begin; i < end; i += size) {
    Group group{0, {order.begin() + i, order.begin() + std::min(i + size, end)}};
    for (const uint32_t c : group.columns) group.mean += h.At(c, c);
    group.mean /= static_cast<double>(group.columns.size());
    groups.push_back(std::move(group));
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return a.mean > b.mean; });
  auto to = order.begin() + begin;
  for (const Group& group : groups) to = std::copy(group.columns.begin(), group.columns.end(), to);
}

double MeanDiagonal(const Hessian& h, const std::string& name) {
  double sum = 0;
  for (size_t i = 0; i < h.n(); ++i) {
    const float d = h.At(i, i);
    if (!std::isfinite(d)) {
      throw Error(name + ": input " + std::to_string(i) +
                  " was not finite during calibration, or too large to be squared");
    }
    sum += d;
  }
  return sum / static_cast<double>(h.n());
}

}  // namespace

InverseFactor::InverseFactor(Hessian& hessian, const FactorOptions& options,
                             const std::string& name, ThreadPool& pool)
    : hessian_(hessian), order_(hessian.n()), weights_(hessian.n()), damping_(hessian.n()) {
  RequireBlas();
  const FpModeScope fp_mode;
  const double mean = MeanDiagonal(hessian, name);
  // An H of zeros tells nothing: every column counts the same.
  const double unknown = mean > 0 ? mean : 1;
  ChooseOrder(options.order);
  const auto tokens = static_cast<double>(std::max<uint64_t>(hessian.n_tokens(), 1));
  const double wanted = options.damping + options.sampling * static_cast<double>(n()) / tokens;
  const double most = std::max(kMostDamping, wanted);
  for (double share = std::max(wanted, kLeastDamping); share <= most; share *= 10) {
    for (size_t j = 0; j < n(); ++j) {
      const double d = hessian.At(j, j);
      damping_[j] = static_cast<float>(share * (d > 0 ? d : unknown));
    }
    Gather(pool);
    if (!Decompose(pool)) continue;
    damping_share_ = share;
    Invert(pool);
    Normalize(pool);
    return;
  }
  throw Error(name + ": the second moments of its inputs are not positive definite, even damped");
}

void InverseFactor::ChooseOrder(bool by_size) {
  std::iota(order_.begin(), order_.end(), 0u);
  if (!by_size) return;
  SortGroups(hessian_, kUnit, 0, n(), order_);
  for (size_t begin = 0; begin < n();) {
    // A unit is cut short where the matrix ends, wherever the sorting has put it.
    const size_t size = std::min<size_t>(kUnit, n() - order_[begin] / kUnit * kUnit);
    SortGroups(hessian_, kHalf, begin, begin + size, order_);
    for (size_t i = begin; i < begin + size;) {
      const size_t half = std::min<size_t>(kHalf, n() - order_[i] / kHalf * kHalf);
      SortGroups(hessian_, 1, i, i + half, order_);
      i += half;
    }
    begin += size;
  }
}

// The lower triangle becomes the damped H in the order of the walk.
void InverseFactor::Gather(ThreadPool& pool) {
  const size_t n_tiles = (n() + kTile - 1) / kTile;
  pool.Run(n_tiles * (n_tiles + 1) / 2, [&](size_t task, size_t) {
    const TilePair at = PairAt(task);
    const size_t begin = at.j * kTile, end = begin + TileSize(begin, n());
    for (size_t i = at.i * kTile; i < at.i * kTile + TileSize(at.i * kTile, n()); ++i) {
      float* const row = At(i, 0);
      for (size_t j = begin; j < std::min(end, i + 1); ++j) {
        row[j] = hessian_.At(order_[i], order_[j]);
      }
      if (at.i == at.j) row[i] += damping_[order_[i]];
    }
  });
}

// H = S^T S from the last block of rows to the first.
bool InverseFactor::Decompose(ThreadPool& pool) {
  const size_t n_tiles = (n() + kTile - 1) / kTile;
  for (size_t k = n_tiles; k-- > 0;) {
    const size_t at = k * kTile, size = TileSize(at, n());
    SmallTriangle diagonal(At(at, at), stride(), size);
    if (!diagonal.Decompose()) return false;
    diagonal.Store(At(at, at), stride());
    pool.Run(k, [&](size_t j, size_t) {
      SolveTransposed(size, kTile, At(at, at), stride(), At(at, j * kTile), stride());
    });
    pool.Run(k * (k + 1) / 2, [&](size_t task, size_t) {
      const TilePair tile = PairAt(task);
      const size_t i = tile.i * kTile, j = tile.j * kTile;
      if (i == j) {
        AddGram(Triangle::kLower, kTile, size, -1.0f, At(at, i), stride(), At(i, i), stride());
      } else {
        AddTransposedProduct(kTile, kTile, size, -1.0f, At(at, i), stride(), At(at, j), stride(),
                             At(i, j), stride());
      }
    });
  }
  return true;
}

// S becomes S^-1, from the last block of columns to the first: what lies below a block's diagonal
// tile becomes -(inverse of what lies right of it) * (it) * (inverse of the diagonal tile).
void InverseFactor::Invert(ThreadPool& pool) {
  const size_t n_tiles = (n() + kTile - 1) / kTile;
  std::vector<float> panel(n() * kTile);
  for (size_t k = n_tiles; k-- > 0;) {
    const size_t at = k * kTile, size = TileSize(at, n()), below = n_tiles - k - 1;
    pool.Run(below, [&](size_t task, size_t) {
      const size_t i = (k + 1 + task) * kTile, rows = TileSize(i, n());
      for (size_t r = i; r < i + rows; ++r) std::copy_n(At(r, at), size, &panel[r * kTile]);
      SolveFromRight(rows, size, -1.0f, At(at, at), stride(), &panel[i * kTile], kTile);
    });
    pool.Run(below, [&](size_t task, size_t) {
      const size_t first = at + kTile;
      const size_t i = (n_tiles - 1 - task) * kTile, rows = TileSize(i, n());  // long ones first
      for (size_t r = i; r < i + rows; ++r) std::copy_n(&panel[r * kTile], size, At(r, at));
      MultiplyTriangle(rows, size, At(i, i), stride(), At(i, at), stride());
      AddProduct(rows, size, i - first, 1.0f, At(i, first), stride(), &panel[first * kTile], kTile,
                 At(i, at), stride());
    });
    SmallTriangle diagonal(At(at, at), stride(), size);
    diagonal.Invert();
    diagonal.Store(At(at, at), stride());
  }
}

void InverseFactor::Normalize(ThreadPool& pool) {
  std::vector<float> inverses(n());
  for (size_t j = 0; j < n(); ++j) {
    inverses[j] = 1 / *At(j, j);
    weights_[j] = inverses[j] * inverses[j];
  }
  pool.Run((n() + kTile - 1) / kTile, [&](size_t task, size_t) {
    const size_t begin = task * kTile;
    for (size_t i = begin; i < begin + TileSize(begin, n()); ++i) {
      for (size_t j = 0; j < i; ++j) *At(i, j) *= inverses[j];
    }
  });
}

}  // namespace glint
