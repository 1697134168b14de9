#include "lib/text/merge_builder.h"

#include <bit>

namespace glint {
namespace {

constexpr size_t kMinSlots = 64;

}  // namespace

// At least a third of the slots stay free.
MergeBuilder::MergeBuilder(size_t n_pieces)
    : pairs_(3 * std::bit_ceil(std::max(kMinSlots, n_pieces + n_pieces / 2)), -1) {
  splits_.reserve(4 * n_pieces);
  for (size_t id = 0; id < n_pieces; ++id) {
    splits_.insert(splits_.end(), {-1, -1, MergeTables::kUnmade, -1});
  }
}

void MergeBuilder::AddInitial(int32_t id) {
  splits_[4 * static_cast<size_t>(id) + 2] = MergeTables::kInitial;
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
// side, must both be there and must not have grown together in another way before.
bool MergeBuilder::Add(int32_t left, int32_t right, int32_t joined) {
  const int32_t rank = rank_++;
  if (IsMade(joined)) return false;
  if (!IsMade(left) || !IsMade(right)) {
    early_.push_back({left, right, joined, rank});
    return false;
  }
  if (!MergeTables(splits_, pairs_).StayApart(left, right)) return false;
  int32_t* split = splits_.data() + 4 * static_cast<size_t>(joined);
  split[0] = left;
  split[1] = right;
  split[2] = rank;
  while (!Insert(left, right, rank)) Grow();
  return true;
}

int64_t MergeBuilder::FirstOutOfOrder() const {
  for (const Early& merge : early_) {
    if (!IsMade(merge.joined) && WouldMeet(merge.left, merge.right)) return merge.rank;
  }
  return -1;
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
