#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/merges.h"
#include "lib/text/pre_tokenizer.h"
#include "lib/text/stretch_tokenizer.h"

namespace glint {

// The members of a file's "tokenizer" object that byte_bpe has; its "rules" name a PreTokenizer.
struct ByteBpeOptions {
  bool nfc = false;               // text is composed first (Qwen2)
  bool ignore_merges = false;     // a word that is a piece is that piece (LLaMA-3, tiktoken)
  bool add_prefix_space = false;  // before a text that does not begin with space
};

// Byte-level BPE (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.2):
// words cut by a pattern, each merged from its bytes. Pieces are bytes, not necessarily UTF-8; an
// id that has none is of type unused and empty.
class ByteBpeTokenizer : public StretchTokenizer {
 public:
  // Checks the tables. Throws Error.
  ByteBpeTokenizer(const ByteBpeOptions& options, const PreTokenizer& words,
                   const TokenizerTables& tables, const std::string& where);

  size_t size() const override { return tables_.piece_ends.size(); }
  void Normalize(std::string_view text, bool first, std::string* out) const override;
  void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const override;
  std::string_view TextOf(int32_t id) const override;
  // Control pieces are passed over, as if they were not there.
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

 private:
  ByteBpeOptions options_;
  PreTokenizer words_;
  TokenizerTables tables_;
  std::vector<int32_t> own_index_;  // if the tables have none
  Merger merger_;
};

// Of tables whose pieces may be any bytes, also none. Throws Error.
void CheckPieces(const TokenizerTables& tables, const std::string& where);
void CheckIndex(const TokenizerTables& tables, const std::string& where);

}  // namespace glint
