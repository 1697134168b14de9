#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/text/tokenizer.h"

namespace glint {

// Longest piece of a vocabulary, in bytes. It bounds the work per character of text.
inline constexpr size_t kMaxPieceBytes = 1024;

// Piece `id` of the tables (whose ends have been checked).
inline std::string_view PieceOf(const TokenizerTables& tables, size_t id) {
  const size_t begin = id == 0 ? 0 : static_cast<size_t>(tables.piece_ends[id - 1]);
  const size_t end = static_cast<size_t>(tables.piece_ends[id]);
  return {reinterpret_cast<const char*>(tables.piece_bytes.data()) + begin, end - begin};
}

// A trie over the pieces that may be found in text (normal, user-defined, unused), stored as a
// double array so that opening a file costs nothing.
//
// The children by byte 0 stand for ends, so a zero byte of a piece goes by the name 0xFF, which no
// UTF-8 has. sentencepiece's pieces with a zero byte are never found, as there; those of bytes are.
//
// It is a list of units, two i32 each: (parent, value). Unit 0 is the root; its parent is -1, as
// is that of a unit not in use. The child of unit s by byte c is unit t = base(s) ^ c, if that
// unit's parent is s. A value >= 0 is 2 * base + (1 if a piece ends here: that is the child by byte
// 0). A value < 0 is ~id: of the pieces only this one begins with the bytes so far; what remains of
// it is compared with piece_bytes.
//
// Nothing is trusted: each step checks that the unit exists, a walk ends after kMaxPieceBytes, and
// an id is checked before use. A damaged index finds wrong pieces or none, but neither crashes nor
// hangs.
class PieceIndex {
 public:
  PieceIndex() = default;
  explicit PieceIndex(const TokenizerTables& tables)
      : tables_(tables), n_units_(static_cast<uint32_t>(tables.index.size() / 2)) {}

  // Calls visit(id, bytes) for each piece that `text` begins with, shortest first; 0 < bytes <=
  // size.
  template <class Visit>
  void ForEachPrefix(std::string_view text, Visit visit) const;

 private:
  TokenizerTables tables_;
  uint32_t n_units_ = 0;
};

// The index of the tables' pieces; tables.index is not read. `bytes`: pieces with a zero byte are
// part of it, and those with a byte 0xFF are not.
std::vector<int32_t> BuildPieceIndex(const TokenizerTables& tables, bool bytes = false);

template <class Visit>
void PieceIndex::ForEachPrefix(std::string_view text, Visit visit) const {
  const int32_t* units = tables_.index.data();
  const size_t n_pieces = tables_.piece_ends.size();
  const size_t limit = text.size() < kMaxPieceBytes ? text.size() : kMaxPieceBytes;
  uint32_t node = 0;
  for (size_t depth = 0;; ++depth) {
    const int32_t value = units[size_t{2} * node + 1];
    if (value < 0) {
      const uint32_t id = ~static_cast<uint32_t>(value);
      if (id >= n_pieces) return;
      const std::string_view piece = PieceOf(tables_, id);
      if (piece.size() < depth || piece.size() > text.size()) return;
      if (text.substr(depth, piece.size() - depth) == piece.substr(depth)) visit(id, piece.size());
      return;
    }
    const uint32_t base = static_cast<uint32_t>(value) >> 1;
    if ((value & 1) != 0 && depth > 0 && base < n_units_) {
      const uint32_t id = ~static_cast<uint32_t>(units[size_t{2} * base + 1]);
      if (id < n_pieces) visit(id, depth);
    }
    if (depth == limit) return;
    const uint8_t c = static_cast<uint8_t>(text[depth]);
    const uint32_t child = base ^ (c == 0 ? 0xFFu : c);
    if (child >= n_units_) return;
    if (units[size_t{2} * child] != static_cast<int32_t>(node)) return;
    node = child;
  }
}

}  // namespace glint
