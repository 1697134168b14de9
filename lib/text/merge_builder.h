#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "lib/text/merges.h"

namespace glint {

// Makes MergeTables' splits and pairs from a list of merges in any order.
class MergeBuilder {
 public:
  explicit MergeBuilder(size_t n_pieces);
  void AddInitial(int32_t id);
  // The next rank's merge: left and right become `joined`. It is left out if no text comes to it.
  // All ids are below n_pieces; one text has one id.
  void Add(int32_t left, int32_t right, int32_t joined);
  bool IsMade(int32_t id) const { return Row(id)[2] >= MergeTables::kInitial; }
  // Gives every piece the longest shorter piece that is its beginning; types and the index must say
  // which pieces are made.
  void Finish(const TokenizerTables& tables);

  std::vector<int32_t> TakeSplits() { return std::move(splits_); }
  std::vector<int32_t> TakePairs() { return std::move(pairs_); }

 private:
  // A merge whose parts are not both made when its rank comes.
  struct Early {
    int32_t left, right, joined, rank;
  };

  int32_t* Row(int32_t id) { return splits_.data() + 4 * static_cast<size_t>(id); }
  const int32_t* Row(int32_t id) const { return splits_.data() + 4 * static_cast<size_t>(id); }
  bool TryMake(const Early& merge, int32_t turn);
  void MakeEarly(int32_t made, int32_t turn);
  bool Insert(int32_t left, int32_t right, int32_t rank);
  void Grow();

  std::vector<int32_t> splits_, pairs_;
  std::vector<uint32_t> lengths_;  // of the made pieces, in initial pieces
  std::vector<Early> early_;
  std::unordered_multimap<int32_t, size_t> early_of_;  // by a part that was missing
  int32_t rank_ = 0;
};

}  // namespace glint
