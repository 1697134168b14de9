#include "lib/text/piece_index.h"

#include <algorithm>
#include <compare>

namespace glint {
namespace {

constexpr uint32_t kBlock = 256;     // units that the children of one node can lie in
constexpr uint32_t kOpenBlocks = 4;  // older blocks are given up, which bounds the search

// A range of the sorted pieces that share their first `depth` bytes, and the unit that stands for
// it.
struct Range {
  uint32_t unit;
  size_t begin, end;
  size_t depth;
};

struct Child {
  uint8_t byte;  // 0: the piece that ends here
  size_t begin, end;
};

class Builder {
 public:
  Builder(const TokenizerTables& tables, bool bytes)
      : tables_(tables), never_(bytes ? '\xFF' : '\0') {}

  std::vector<int32_t> Build() {
    SortPieces();
    AddBlock();
    used_[0] = 1;
    std::vector<Range> queue = {{0, 0, sorted_.size(), 0}};
    for (size_t i = 0; i < queue.size(); ++i) Place(queue[i], &queue);
    while (units_.size() > 2 && units_[units_.size() - 2] == -1) units_.resize(units_.size() - 2);
    return std::move(units_);
  }

 private:
  struct Piece {
    std::string_view text;
    size_t id;
    auto operator<=>(const Piece& other) const = default;
  };

  // Of equal pieces the first counts.
  void SortPieces() {
    for (size_t id = 0; id < tables_.piece_ends.size(); ++id) {
      const auto type = static_cast<PieceType>(tables_.types[id]);
      if (type != PieceType::kNormal && type != PieceType::kUserDefined &&
          type != PieceType::kUnused) {
        continue;
      }
      const std::string_view piece = PieceOf(tables_, id);
      if (!piece.empty() && piece.find(never_) == piece.npos) sorted_.push_back({piece, id});
    }
    std::sort(sorted_.begin(), sorted_.end());
    const auto same = [](const Piece& a, const Piece& b) { return a.text == b.text; };
    sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), same), sorted_.end());
  }

  static uint8_t Label(char c) { return c == 0 ? 0xFF : static_cast<uint8_t>(c); }

  void AddBlock() {
    units_.resize(units_.size() + size_t{2} * kBlock, -1);
    used_.resize(used_.size() + kBlock, 0);
  }

  // Splits the range by its next byte and places the children.
  void Place(Range range, std::vector<Range>* queue) {
    children_.clear();
    for (size_t i = range.begin; i < range.end; ++i) {
      const std::string_view piece = sorted_[i].text;
      const uint8_t byte = piece.size() == range.depth ? 0 : Label(piece[range.depth]);
      if (children_.empty() || children_.back().byte != byte) children_.push_back({byte, i, i});
      children_.back().end = i + 1;
    }
    const uint32_t base = FindBase();
    const bool ends_here = !children_.empty() && children_[0].byte == 0;
    units_[size_t{2} * range.unit + 1] = static_cast<int32_t>(2 * base + (ends_here ? 1 : 0));
    for (const Child& child : children_) {
      const uint32_t unit = base ^ child.byte;
      used_[unit] = 1;
      units_[size_t{2} * unit] = static_cast<int32_t>(range.unit);
      if (child.end - child.begin == 1) {
        units_[size_t{2} * unit + 1] = ~static_cast<int32_t>(sorted_[child.begin].id);
      } else {
        queue->push_back({unit, child.begin, child.end, range.depth + 1});
      }
    }
  }

  // A base such that each child's unit is free.
  uint32_t FindBase() {
    if (children_.empty()) return 0;
    const uint32_t n_units = static_cast<uint32_t>(used_.size());
    const uint32_t oldest = n_units > kOpenBlocks * kBlock ? n_units - kOpenBlocks * kBlock : 0;
    first_free_ = std::max(first_free_, oldest);
    while (first_free_ < n_units && used_[first_free_]) first_free_++;
    for (uint32_t unit = first_free_; unit < n_units; ++unit) {
      if (used_[unit]) continue;
      const uint32_t base = unit ^ children_[0].byte;
      const bool fits = std::none_of(children_.begin(), children_.end(),
                                     [&](const Child& child) { return used_[base ^ child.byte]; });
      if (fits) return base;
    }
    AddBlock();
    return n_units;
  }

  const TokenizerTables& tables_;
  const char never_;  // a piece with this byte is left out
  std::vector<Piece> sorted_;
  std::vector<int32_t> units_;
  std::vector<uint8_t> used_;  // not vector<bool>, whose bits cost half of the search
  std::vector<Child> children_;
  uint32_t first_free_ = 1;
};

}  // namespace

std::vector<int32_t> BuildPieceIndex(const TokenizerTables& tables, bool bytes) {
  return Builder(tables, bytes).Build();
}

}  // namespace glint
