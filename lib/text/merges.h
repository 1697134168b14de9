#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/piece_index.h"

namespace glint {

// The merges of a byte-pair encoding, as tables that need no work when a file is opened. Given the
// order in which two neighbours become one (Sennrich et al. 2016), a text has one result, and a
// list of pieces is that result exactly if no two neighbours of it would have grown together: so a
// text is cut greedily, longest piece first, with a step back where two neighbours contradict the
// merges. Whether they do is found by undoing both, latest merge first. Work is linear in the text.
//
// splits (n_pieces, 4): of each piece what its last merge joined (left, right), the turn at which
// it is made, and the longest shorter piece that begins as it does (-1: none). Turn -1: a piece
// there from the start (a byte, or a character). Turn -2: no merges make it.
//
// pairs (n_slots, 3): a hash table of (left, right, rank), n_slots a power of 2, left -1 in free
// slots; a pair is at most kMaxProbes slots behind its hash. One pair for each piece of turn >= 0.
//
// A piece's turn is the highest rank among all the merges that make it. In the order of training
// that is the rank of the last one. Lists made later from ranks alone (LLaMA-3's tokenizer.json)
// also have merges that stand before those that make their parts: such a piece is made at once when
// its parts are there, so in their turn, before the next merge of that rank.
//
// Nothing is trusted: ids are checked before use, each walk is bounded. Damaged tables give other
// ids, neither a crash nor a hang.
class MergeTables {
 public:
  static constexpr int32_t kInitial = -1, kUnmade = -2;
  static constexpr uint32_t kMaxProbes = 64;
  static constexpr size_t kMaxSteps = 2 * kMaxPieceBytes;

  struct Split {
    int32_t left, right, turn, shorter;
  };

  MergeTables() = default;
  MergeTables(std::span<const int32_t> splits, std::span<const int32_t> pairs)
      : splits_(splits), pairs_(pairs), mask_(static_cast<uint32_t>(pairs.size() / 3) - 1) {}

  uint32_t size() const { return static_cast<uint32_t>(splits_.size() / 4); }
  bool Has(int32_t id) const { return id >= 0 && static_cast<uint32_t>(id) < size(); }
  Split Of(int32_t id) const {  // Has(id)
    const int32_t* row = splits_.data() + size_t{4} * static_cast<uint32_t>(id);
    return {row[0], row[1], row[2], row[3]};
  }
  int32_t Rank(int32_t left, int32_t right) const;  // INT32_MAX: not merged
  // Whether these two, made of neighbouring texts, stay apart.
  bool StayApart(int32_t left, int32_t right) const;

  // A bit for each pair's hash, much smaller than the pairs: most neighbours are none. The caller
  // keeps it.
  std::vector<uint64_t> MakeFilter() const;
  void UseFilter(const std::vector<uint64_t>& filter) { filter_ = filter.data(); }

  static uint32_t Hash(int32_t left, int32_t right) {
    const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    const uint64_t mixed = key * 0x9E3779B97F4A7C15u;
    return static_cast<uint32_t>((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9u >> 32);
  }

 private:
  int32_t TurnOf(int32_t id) const { return Has(id) ? Of(id).turn : kUnmade; }

  static constexpr int kFilterBits = 20;

  std::span<const int32_t> splits_, pairs_;
  uint32_t mask_ = 0;
  const uint64_t* filter_ = nullptr;  // 2^kFilterBits bits, or none
};

// Cuts texts by MergeTables. Thread-safe.
class Merger {
 public:
  Merger() = default;
  // Checks the sizes of splits and pairs; index and pieces have been checked. Throws Error.
  Merger(const TokenizerTables& tables, const PieceIndex& index, const std::string& where);
  Merger(Merger&&) = default;
  Merger& operator=(Merger&&) = default;

  // What a thread reuses from text to text.
  struct Scratch {
    std::vector<uint64_t> dead;  // a bit for each place from which no way leads on
    uint64_t steps = 0;          // pieces tried so far, for tests
  };

  // Appends the pieces of a text that consists of initial pieces. With `whole_first`, a text that
  // is a piece is that piece, whatever the merges say.
  void Append(std::string_view text, bool whole_first, Scratch* scratch,
              std::vector<int32_t>* ids) const;
  // Whether the text is an initial piece.
  bool IsInitial(std::string_view text) const;

 private:
  int32_t Longest(std::string_view text, int32_t* whole) const;
  size_t Bytes(int32_t id) const { return PieceOf(tables_, static_cast<size_t>(id)).size(); }
  int32_t Shorter(int32_t id) const;
  void AppendLong(std::string_view text, int32_t first, Scratch* scratch,
                  std::vector<int32_t>* ids) const;

  TokenizerTables tables_;
  PieceIndex index_;
  MergeTables merges_;
  std::vector<uint64_t> filter_;  // of merges_
};

}  // namespace glint
