#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/merges.h"
#include "lib/text/piece_tokenizer.h"

namespace glint {

// BPE over characters by a list of merges, as the tokenizer.json of LLaMA-2, Mistral, Gemma and
// Phi-3 has it: what BpeTokenizer does by scores. A text is one word. Characters that are no piece
// become byte pieces or the unknown one, and are never merged.
class MergedPieceTokenizer : public PieceTokenizer {
 public:
  // Checks the tables. Throws Error.
  MergedPieceTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                       const std::string& where);

 private:
  void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const override;

  Merger merger_;
};

}  // namespace glint
