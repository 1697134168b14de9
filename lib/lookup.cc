#include "lib/lookup.h"

#include <algorithm>
#include <bit>

namespace glint {
namespace {

// Slots that are looked at for one gram. At a quarter full they practically never run out; if they
// do, the first is taken over, and a possible draft is missed.
constexpr size_t kMaxProbes = 32;
// A record halves when it has seen so many tokens.
constexpr uint32_t kMemory = 32;

}  // namespace

LookupDraft::LookupDraft(size_t capacity, const LookupTuning& tuning)
    : tuning_(tuning), capacity_(capacity) {
  const size_t slots = std::bit_ceil(std::max<size_t>(64, 4 * capacity));
  shift_ = 64 - std::countr_zero(slots);
  ids_.reserve(capacity);
  slots_.resize((tuning.max_gram - tuning.min_gram + 1) * slots);
}

// The end of the last occurrence of the gram that ends the text, 0 if there is none; the slot then
// holds this occurrence.
size_t LookupDraft::Find(size_t gram, uint64_t hash) {
  const size_t n_slots = size_t{1} << (64 - shift_);
  uint32_t* const slots = slots_.data() + (gram - tuning_.min_gram) * n_slots;
  const size_t home = hash >> shift_;
  const auto end = static_cast<uint32_t>(ids_.size());
  for (size_t probe = 0; probe < kMaxProbes; ++probe) {
    uint32_t& slot = slots[(home + probe) & (n_slots - 1)];
    const auto known = ids_.begin() + slot;
    if (slot != 0 && !std::equal(known - static_cast<ptrdiff_t>(gram), known,
                                 ids_.end() - static_cast<ptrdiff_t>(gram))) {
      continue;
    }
    const size_t last = slot;
    slot = end;
    return last;
  }
  slots[home] = end;
  return 0;
}

size_t LookupDraft::MatchLength(size_t next) const {
  const size_t limit = std::min(next, kMaxMatch);
  size_t length = 0;
  while (length < limit && ids_[next - 1 - length] == ids_[ids_.size() - 1 - length]) ++length;
  return length;
}

void LookupDraft::Add(int32_t id) {
  if (ids_.size() == capacity_) {
    match_ = {};
    return;
  }
  Match moved;
  if (match_.length != 0) {
    const bool right = ids_[match_.next] == id;
    Record& record = records_[match_.length - 1];
    record.right += right;
    if (++record.tried == kMemory) record = {record.right / 2, record.tried / 2};
    if (right) moved = {match_.next + 1, std::min(match_.length + 1, kMaxMatch)};
  }
  ids_.push_back(id);
  Match found;
  uint64_t hash = 0;
  const size_t longest = std::min(tuning_.max_gram, ids_.size());
  for (size_t gram = 1; gram <= longest; ++gram) {
    hash = (hash + static_cast<uint32_t>(ids_[ids_.size() - gram]) + 1) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    if (gram < tuning_.min_gram) continue;
    if (const size_t next = Find(gram, hash * 0xD6E8FEB86659FD93u)) found.next = next;
  }
  if (found.next != 0) found.length = MatchLength(found.next);
  match_ = moved.length > found.length ? moved : found;
}

double LookupDraft::Chance(size_t match_length) const {
  const Record& record = records_[std::min(match_length, kMaxMatch) - 1];
  return (record.right + 1.0) / (record.tried + 2.0);
}

size_t LookupDraft::Propose(std::span<int32_t> draft) const {
  if (match_.length == 0 || ids_.size() == capacity_) return 0;
  // The number of guesses that gives the most expected tokens for its cost.
  double all_right = 1, tokens = 1, best = 1;
  size_t n = 0;
  for (size_t k = 1; k <= draft.size(); ++k) {
    all_right *= Chance(match_.length + k - 1);
    tokens += all_right;
    const double rate = tokens / (1 + static_cast<double>(k) * tuning_.token_cost);
    if (rate <= best) continue;
    best = rate;
    n = k;
  }
  for (size_t i = 0; i < n; ++i) {
    const size_t from = match_.next + i;
    draft[i] = from < ids_.size() ? ids_[from] : draft[from - ids_.size()];
  }
  return n;
}

}  // namespace glint
