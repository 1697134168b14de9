#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/piece_index.h"
#include "lib/text/stretch_tokenizer.h"

namespace glint {

// The members of a file's "tokenizer" object that word_piece has.
struct WordPieceOptions {
  bool clean_text = true;     // control characters go, space becomes ' '
  bool split_chinese = true;  // every Chinese character is a word
  bool lowercase = true;
  bool strip_accents = true;  // marks (Mn) of the decomposed text go
  bool compose = true;        // text is composed (NFC) before it is lowered, as transformers does
  bool clean_up = false;      // decoding puts no space before . ? ! , 'm 's 've 're n't
  int32_t unk_id = -1;        // default: the piece "[UNK]"
};

// WordPiece (Schuster & Nakajima 2012, "Japanese and Korean Voice Search") as BERT has it (Devlin
// et al. 2018, tokenization.py): words at space and punctuation; each is cut into the longest
// pieces from the left, all but the first of which begin with "##"; a word of which that fails, or
// of more than 100 characters, is the unknown piece. Decoding puts spaces between words: it does
// not give the text back.
class WordPieceTokenizer : public StretchTokenizer {
 public:
  static constexpr size_t kMaxWordCharacters = 100;

  // Checks the tables. Throws Error.
  WordPieceTokenizer(const WordPieceOptions& options, const TokenizerTables& tables,
                     const std::string& where);

  size_t size() const override { return tables_.piece_ends.size(); }
  // Words, each with a space behind it.
  void Normalize(std::string_view text, bool first, std::string* out) const override;
  void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const override;
  std::string_view TextOf(int32_t id) const override;
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

 private:
  std::string Clean(std::string_view text) const;
  std::string Lower(std::string_view text) const;
  void AppendWord(std::string_view word, std::string* buffer, std::vector<int32_t>* ids) const;

  WordPieceOptions options_;
  TokenizerTables tables_;
  std::vector<int32_t> own_index_;  // if the tables have none
  PieceIndex index_;
};

}  // namespace glint
