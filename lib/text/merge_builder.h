#pragma once
#include <cstdint>
#include <vector>

#include "lib/text/merges.h"

namespace glint {

// Makes MergeTables' splits and pairs from a list of merges.
class MergeBuilder {
 public:
  explicit MergeBuilder(size_t n_pieces);
  void AddInitial(int32_t id);
  // The next rank's merge: left and right become `joined`. True if texts come to it; it is left out
  // where others make `joined` first. All ids are below n_pieces.
  bool Add(int32_t left, int32_t right, int32_t joined);
  bool IsMade(int32_t id) const { return splits_[4 * static_cast<size_t>(id) + 2] >= -1; }
  // Whether a text can come to both of these side by side.
  bool WouldMeet(int32_t left, int32_t right) const {
    return IsMade(left) && IsMade(right) && MergeTables(splits_, pairs_).StayApart(left, right);
  }
  // Of the merges that came too early, one that texts would yet come to: its index among all that
  // were added. -1: none, which is so of lists in the order of training.
  int64_t FirstOutOfOrder() const;
  // Gives every piece the longest shorter piece that is its beginning; types and the index must say
  // which pieces are made.
  void Finish(const TokenizerTables& tables);

  std::vector<int32_t> TakeSplits() { return std::move(splits_); }
  std::vector<int32_t> TakePairs() { return std::move(pairs_); }

 private:
  struct Early {
    int32_t left, right, joined, rank;
  };
  bool Insert(int32_t left, int32_t right, int32_t rank);
  void Grow();

  std::vector<int32_t> splits_, pairs_;
  std::vector<Early> early_;
  int32_t rank_ = 0;
};

}  // namespace glint
