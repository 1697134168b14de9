#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/piece_tokenizer.h"

namespace glint {

// A sentencepiece BPE model (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with
// Subword Units", as sentencepiece 0.1.97 runs it): a text's characters, of which the two
// neighbours that make the piece with the best score become one, the leftmost of equals first,
// again and again. User-defined pieces are taken whole and never merged. An unused piece may be
// made on the way and is taken apart at the end.
//
// A heap and a linked list make it O(n log n). Where no piece holds two neighbouring characters
// next to each other, none can ever cross, so the text is cut there and each stretch, a word
// mostly, is merged by itself.
class BpeTokenizer : public PieceTokenizer {
 public:
  // Checks the tables. Throws Error.
  BpeTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
               const std::string& where);

 private:
  struct Segmentation;
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int kFilterBits = 20;

  void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const override;
  void AddNeighbours(std::string_view piece);
  // May a piece hold these two characters (their bytes as a number) next to each other?
  bool MayMerge(uint32_t left, uint32_t right) const;
  uint32_t Find(std::string_view piece) const;  // among the pieces found in text; else kNone
  // The piece's number as sentencepiece tells it: unknown and byte pieces go first; unk_ if none.
  // `found` is what Find gave.
  uint32_t IdOf(uint32_t found, std::string_view piece) const;

  bool has_unused_ = false;       // of two characters or more
  std::vector<uint64_t> filter_;  // 2^kFilterBits bits: hashes of neighbours within pieces
  // The unknown and the byte pieces that a merge or a single character may come to. (sentencepiece
  // fails on a text that comes to a control piece; here it means the piece of that text.)
  std::vector<std::pair<std::string_view, uint32_t>> reserved_;
};

}  // namespace glint
