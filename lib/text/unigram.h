#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/piece_tokenizer.h"

namespace glint {

// A sentencepiece Unigram model: of all ways to cut the text into pieces, the one with the greatest
// sum of log probabilities (Kudo 2018, "Subword Regularization"; sentencepiece 0.1.97's optimized
// Viterbi, whose mixture of float and double is part of the result where two ways are nearly
// equal).
class UnigramTokenizer : public PieceTokenizer {
 public:
  // Checks the tables. Throws Error.
  UnigramTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                   const std::string& where);

 private:
  struct Segmentation;

  void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const override;

  float min_score_, max_score_;  // of normal pieces
};

}  // namespace glint
