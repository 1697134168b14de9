#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/normalizer.h"
#include "lib/text/piece_index.h"
#include "lib/text/tokenizer.h"

namespace glint {

// The members of a file's "tokenizer" object besides "algorithm" and "rules". Ids are the model's:
// a piece's number in the tables plus id_offset. -1 stands for an id not given.
struct TokenizerOptions {
  NormalizerOptions normalizer;
  bool byte_fallback = false;  // unknown characters become byte pieces
  int32_t id_offset = 0;       // ids below it are no text (ChatGLM-6B's first revision: 20000)
  int32_t unk_id = -1;         // default: the piece of type unknown
  int32_t gmask_id = -1, mask_id = -1, sop_id = -1, eop_id = -1, pad_id = -1;
  std::string unk_surface = " \xE2\x81\x87 ";  // what decoding writes for unk_id
};

// A sentencepiece Unigram model: of all ways to cut the text into pieces, the one with the greatest
// sum of log probabilities (Kudo 2018, "Subword Regularization"; sentencepiece 0.1.97's optimized
// Viterbi, whose mixture of float and double is part of the result where two ways are nearly
// equal).
class UnigramTokenizer : public Tokenizer {
 public:
  // Checks the tables. Throws Error.
  UnigramTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                   const std::string& where);

  size_t size() const override { return tables_.piece_ends.size() + offset(); }
  std::vector<int32_t> Encode(std::string_view text) const override;
  std::vector<int32_t> EncodeWithSpecial(std::string_view text) const override;
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

  // Appends the ids of `text`, which is normalized here as a text of its own.
  void AppendIds(std::string_view text, std::vector<int32_t>* ids) const;
  // The model's id of the piece with this text that is not found in text by itself or is
  // user-defined (control, unknown, user-defined); -1 if there is none.
  int32_t FindSpecial(std::string_view piece) const;
  const TokenizerOptions& options() const { return options_; }

 private:
  struct Segmentation;

  size_t offset() const { return static_cast<size_t>(options_.id_offset); }
  void CheckTables(const std::string& where) const;
  void ReadPieces(const std::string& where);
  void CheckIds(const std::string& where) const;
  void FlushBytes(bool complete, DecodeState* state, std::string* out) const;

  TokenizerOptions options_;
  TokenizerTables tables_;
  std::vector<int32_t> own_index_;  // if the tables have none
  PieceIndex index_;
  std::unique_ptr<Normalizer> normalizer_;
  uint32_t unk_ = 0;                   // a piece's number, as all below
  std::array<int32_t, 256> byte_ids_;  // -1: none
  std::vector<std::pair<std::string_view, uint32_t>> specials_;
  float min_score_, max_score_;  // of normal pieces
};

}  // namespace glint
