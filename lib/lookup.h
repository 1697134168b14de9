#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace glint {

// What drafting depends on. The defaults were chosen with bench/bench_lookup.cc
// (docs/ARCHITECTURE.md).
struct LookupTuning {
  size_t min_gram = 1, max_gram = 4;  // lengths of the ends of the text that are looked up
  double token_cost = 0.15;           // verifying one more token, in runs of a single token
};

// Guesses the tokens that come next from the text so far (prompt look-up, n-gram speculation):
// where the end of the text has occurred before, what followed then may follow now. A guess costs
// nothing but its verification, so the class also judges how many guesses are worth that: it
// counts, for each length of match, how often the next token was right, also when nothing was
// drafted, so that it backs off from text that does not repeat itself and comes back by itself when
// it does. All of it depends on the ids alone, never on clocks.
//
// Work per token is bounded: one slot per length of gram and a comparison of at most kMaxMatch ids.
// Allocates when it is created and never after.
class LookupDraft {
 public:
  // Matches are measured up to this length (ids).
  static constexpr size_t kMaxMatch = 16;

  struct Match {
    size_t next = 0;    // the text's end has occurred before ids()[next]
    size_t length = 0;  // so many ids of it, at most kMaxMatch; 0: it has not
  };

  // For texts of up to `capacity` ids; what is added beyond is ignored, and nothing is proposed
  // then.
  explicit LookupDraft(size_t capacity, const LookupTuning& tuning = {});

  // The text goes on with `id`.
  void Add(int32_t id);

  // Writes the guesses that are worth verifying, at most draft.size(), and returns how many. A
  // guess that reaches the end of the text goes on in itself, so a text that runs in circles is
  // foreseen.
  size_t Propose(std::span<int32_t> draft) const;

  // The most recent place where the longest of the grams at the text's end has occurred, or the
  // place of the last match, moved on by one, if that one is longer.
  const Match& match() const { return match_; }
  std::span<const int32_t> ids() const { return ids_; }

 private:
  // How often the token after a match was the one foreseen; old counts fade.
  struct Record {
    uint32_t right = 0, tried = 0;
  };

  size_t Find(size_t gram, uint64_t hash);
  size_t MatchLength(size_t next) const;
  double Chance(size_t match_length) const;

  LookupTuning tuning_;
  size_t capacity_;
  int shift_;  // of a hash, leaves the number of a slot
  std::vector<int32_t> ids_;
  std::vector<uint32_t> slots_;  // (grams, slots): where the gram's last occurrence ended; 0: none
  Match match_;
  Record records_[kMaxMatch];  // by match length - 1
};

}  // namespace glint
