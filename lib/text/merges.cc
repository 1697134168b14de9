#include "lib/text/merges.h"

#include <algorithm>
#include <bit>

#include "lib/error.h"

namespace glint {

int32_t MergeTables::Rank(int32_t left, int32_t right) const {
  const uint32_t hash = Hash(left, right);
  if (filter_ != nullptr) {
    const uint32_t bit = hash >> (32 - kFilterBits);
    if ((filter_[bit / 64] >> (bit % 64) & 1) == 0) return INT32_MAX;
  }
  uint32_t slot = hash & mask_;
  for (uint32_t probe = 0; probe <= kMaxProbes; ++probe) {
    const int32_t* row = pairs_.data() + size_t{3} * slot;
    if (row[0] == left && row[1] == right) return row[2];
    if (row[0] < 0) break;
    slot = (slot + 1) & mask_;
  }
  return INT32_MAX;
}

std::vector<uint64_t> MergeTables::MakeFilter() const {
  std::vector<uint64_t> filter((size_t{1} << kFilterBits) / 64);
  for (size_t i = 0; i < pairs_.size(); i += 3) {
    if (pairs_[i] < 0) continue;
    const uint32_t bit = Hash(pairs_[i], pairs_[i + 1]) >> (32 - kFilterBits);
    filter[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  return filter;
}

// Undoes the merges within both, the latest first. Where both come to the neighbours l and r, these
// lay side by side from the later of their own merges until `limit`, when one of them went on. Of
// equal ranks the leftmost merge comes first. One turn makes one piece grow, in its own text only:
// if the part next to the border grew on in the turn that made it, nothing came between, and the
// rank of that one merge is the limit; else it is the turn's own.
bool MergeTables::StayApart(int32_t left, int32_t right) const {
  int64_t limit = INT32_MAX;
  for (size_t step = 0; step < kMaxSteps && Has(left) && Has(right); ++step) {
    if (Rank(left, right) < limit) return false;
    const Split l = Of(left);
    const Split r = Of(right);
    if (l.turn < 0 && r.turn < 0) return true;
    if (l.turn > r.turn) {
      limit = TurnOf(l.right) == l.turn ? Rank(l.left, l.right) : l.turn;
      left = l.right;
    } else {
      const bool grew = TurnOf(r.left) == r.turn && TurnOf(r.right) < r.turn;
      limit = int64_t{grew ? Rank(r.left, r.right) : r.turn} + 1;
      right = r.left;
    }
  }
  return true;
}

Merger::Merger(const TokenizerTables& tables, const PieceIndex& index, const std::string& where)
    : tables_(tables), index_(index), merges_(tables.splits, tables.pairs) {
  const size_t n = tables.piece_ends.size();
  const size_t slots = tables.pairs.size() / 3;
  if (tables.splits.size() != 4 * n) {
    throw Error(where + ": splits: expected 4 numbers for each of " + std::to_string(n) +
                " pieces, found " + std::to_string(tables.splits.size()));
  }
  if (tables.pairs.size() != 3 * slots || !std::has_single_bit(slots) || slots > UINT32_MAX / 2) {
    throw Error(where + ": pairs: expected 3 numbers for each slot, a power of 2 of them, found " +
                std::to_string(tables.pairs.size()) + " numbers");
  }
  filter_ = merges_.MakeFilter();
  merges_.UseFilter(filter_);
}

// The longest piece that `text` begins with and that merges can make; -1: none. `whole`: the piece
// of any kind that is all of the text; -1: none.
int32_t Merger::Longest(std::string_view text, int32_t* whole) const {
  int32_t longest = -1;
  *whole = -1;
  index_.ForEachPrefix(text, [&](uint32_t id, size_t bytes) {
    if (bytes == text.size()) *whole = static_cast<int32_t>(id);
    if (tables_.types[id] == static_cast<uint8_t>(PieceType::kNormal)) {
      longest = static_cast<int32_t>(id);
    }
  });
  return longest;
}

int32_t Merger::Shorter(int32_t id) const {
  const int32_t shorter = merges_.Of(id).shorter;
  return merges_.Has(shorter) && Bytes(shorter) < Bytes(id) && Bytes(shorter) > 0 ? shorter : -1;
}

bool Merger::IsInitial(std::string_view text) const {
  int32_t whole;
  Longest(text, &whole);
  return whole >= 0 && merges_.Of(whole).turn == MergeTables::kInitial;
}

void Merger::Append(std::string_view text, bool whole_first, Scratch* scratch,
                    std::vector<int32_t>* ids) const {
  int32_t whole;
  const int32_t first = Longest(text, &whole);
  if (whole >= 0 && (whole_first || whole == first)) {
    ids->push_back(whole);
    return;
  }
  AppendLong(text, first, scratch, ids);
}

void Merger::AppendLong(std::string_view text, int32_t first, Scratch* scratch,
                        std::vector<int32_t>* ids) const {
  std::vector<uint64_t>& dead = scratch->dead;
  dead.assign(text.size() / 64 + 1, 0);
  const size_t begin = ids->size();
  int32_t whole;
  int32_t next = first;
  for (size_t at = 0; at < text.size();) {
    scratch->steps++;
    if (next >= 0) {
      const size_t end = at + Bytes(next);
      const bool open = end <= text.size() && (dead[end / 64] >> (end % 64) & 1) == 0;
      if (open && (ids->size() == begin || merges_.StayApart(ids->back(), next))) {
        ids->push_back(next);
        at = end;
        next = Longest(text.substr(at), &whole);
      } else {
        next = Shorter(next);
      }
    } else if (ids->size() > begin) {
      // Nothing goes on from here: the last piece was too long.
      dead[at / 64] |= uint64_t{1} << (at % 64);
      next = ids->back();
      ids->pop_back();
      at -= std::min(at, Bytes(next));
      next = Shorter(next);
    } else {
      return;  // of whole tables none comes here: initial pieces alone are always a way
    }
  }
}

}  // namespace glint
