#include "lib/text/merge_builder.h"

#include <bit>
#include <set>
#include <utility>

namespace glint {
namespace {

constexpr size_t kMinSlots = 64;

}  // namespace

// At least a third of the slots stay free.
MergeBuilder::MergeBuilder(size_t n_pieces)
    : pairs_(3 * std::bit_ceil(std::max(kMinSlots, n_pieces + n_pieces / 2)), -1),
      lengths_(n_pieces) {
  splits_.reserve(4 * n_pieces);
  for (size_t id = 0; id < n_pieces; ++id) {
    splits_.insert(splits_.end(), {-1, -1, MergeTables::kUnmade, -1});
  }
}

void MergeBuilder::AddInitial(int32_t id) {
  Row(id)[2] = MergeTables::kInitial;
  lengths_[static_cast<size_t>(id)] = 1;
}

bool MergeBuilder::Insert(int32_t left, int32_t right, int32_t rank) {
  const uint32_t mask = static_cast<uint32_t>(pairs_.size() / 3) - 1;
  uint32_t slot = MergeTables::Hash(left, right) & mask;
  for (uint32_t probe = 0; probe <= MergeTables::kMaxProbes; ++probe) {
    int32_t* row = pairs_.data() + size_t{3} * slot;
    if (row[0] < 0) {
      row[0] = left;
      row[1] = right;
      row[2] = rank;
      return true;
    }
    slot = (slot + 1) & mask;
  }
  return false;
}

void MergeBuilder::Grow() {
  const std::vector<int32_t> old = std::move(pairs_);
  for (size_t slots = old.size() / 3 * 2;; slots *= 2) {
    pairs_.assign(3 * slots, -1);
    bool fits = true;
    for (size_t i = 0; i < old.size() && fits; i += 3) {
      if (old[i] >= 0) fits = Insert(old[i], old[i + 1], old[i + 2]);
    }
    if (fits) return;
  }
}

// The very test that texts are cut by tells whether the merge takes place: its two parts, side by
// side, must not have grown together in another way before.
bool MergeBuilder::TryMake(const Early& merge, int32_t turn) {
  if (IsMade(merge.joined) || !MergeTables(splits_, pairs_).StayApart(merge.left, merge.right)) {
    return false;
  }
  int32_t* row = Row(merge.joined);
  row[0] = merge.left;
  row[1] = merge.right;
  row[2] = turn;
  lengths_[static_cast<size_t>(merge.joined)] =
      lengths_[static_cast<size_t>(merge.left)] + lengths_[static_cast<size_t>(merge.right)];
  while (!Insert(merge.left, merge.right, merge.rank)) Grow();
  return true;
}

void MergeBuilder::Add(int32_t left, int32_t right, int32_t joined) {
  const Early merge = {left, right, joined, rank_++};
  if (IsMade(joined)) return;
  if (IsMade(left) && IsMade(right)) {
    if (TryMake(merge, merge.rank)) MakeEarly(joined, merge.rank);
    return;
  }
  if (!IsMade(left)) early_of_.emplace(left, early_.size());
  if (!IsMade(right) && right != left) early_of_.emplace(right, early_.size());
  early_.push_back(merge);
}

// The merges of lower ranks that a new piece makes possible, and those that these do, the shortest
// first: what else could happen within a text has been decided when its turn comes here.
void MergeBuilder::MakeEarly(int32_t made, int32_t turn) {
  std::set<std::pair<uint32_t, size_t>> open;  // length of the joined piece, index of the merge
  for (;;) {
    const auto [begin, end] = early_of_.equal_range(made);
    for (auto of = begin; of != end; ++of) {
      const Early& merge = early_[of->second];
      if (!IsMade(merge.left) || !IsMade(merge.right)) continue;
      const uint32_t length =
          lengths_[static_cast<size_t>(merge.left)] + lengths_[static_cast<size_t>(merge.right)];
      open.emplace(length, of->second);
    }
    for (made = -1; made < 0 && !open.empty(); open.erase(open.begin())) {
      const Early& merge = early_[open.begin()->second];
      if (TryMake(merge, turn)) made = merge.joined;
    }
    if (made < 0) return;
  }
}

void MergeBuilder::Finish(const TokenizerTables& tables) {
  const PieceIndex index(tables);
  for (size_t id = 0; id < tables.piece_ends.size(); ++id) {
    const std::string_view piece = PieceOf(tables, id);
    index.ForEachPrefix(piece, [&](uint32_t prefix, size_t bytes) {
      if (bytes < piece.size() && IsMade(static_cast<int32_t>(prefix))) {
        splits_[4 * id + 3] = static_cast<int32_t>(prefix);
      }
    });
  }
}

}  // namespace glint
