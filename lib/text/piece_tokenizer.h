#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
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
  int32_t bos_id = -1, gmask_id = -1, mask_id = -1, sop_id = -1, eop_id = -1, pad_id = -1;
  std::string unk_surface = " \xE2\x81\x87 ";  // what decoding writes for unk_id
};

// What all sentencepiece models share: the pieces and their types, the normalizer, decoding. Which
// pieces a text is cut into is the algorithm's affair.
class PieceTokenizer : public Tokenizer {
 public:
  size_t size() const override { return tables_.piece_ends.size() + offset(); }
  std::vector<int32_t> Encode(std::string_view text) const override;
  // The prefix, then Encode's ids.
  std::vector<int32_t> EncodeWithSpecial(std::string_view text) const override;
  std::vector<int32_t> EncodeParsed(std::string_view text) const override;
  int32_t FindToken(std::string_view token) const override { return FindSpecial(token); }
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

  // Appends the ids of `text`, which is normalized here as a text of its own.
  void AppendIds(std::string_view text, std::vector<int32_t>* ids) const;
  // The model's id of the piece with this text that is not found in text by itself or is
  // user-defined (control, unknown, user-defined); -1 if there is none.
  int32_t FindSpecial(std::string_view piece) const;
  // One more id in front of what EncodeWithSpecial gives: `option`, or if that is -1 the special
  // piece with this text. Throws Error, beginning with `where`, if there is neither.
  void AddPrefix(const char* name, int32_t option, std::string_view piece,
                 const std::string& where);

 protected:
  // Checks the tables. Throws Error.
  PieceTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                 const std::string& where);
  // Cuts a text into pieces, each given to Write in turn.
  virtual void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const = 0;

  // Writes one piece. Unknown characters become their bytes, or one id for a run of them, which is
  // what `after_unknown` (false at first) remembers.
  void Write(uint32_t id, std::string_view piece, bool* after_unknown,
             std::vector<int32_t>* ids) const;
  PieceType Type(uint32_t id) const { return static_cast<PieceType>(tables_.types[id]); }

  TokenizerTables tables_;
  PieceIndex index_;
  std::unique_ptr<Normalizer> normalizer_;
  uint32_t unk_ = 0;  // a piece's number

 private:
  size_t offset() const { return static_cast<size_t>(options_.id_offset); }
  void CheckTables(const std::string& where) const;
  void ReadPieces(const std::string& where);
  void CheckIds(const std::string& where) const;
  void FlushBytes(bool complete, DecodeState* state, std::string* out) const;

  TokenizerOptions options_;
  std::vector<int32_t> own_index_;     // if the tables have none
  std::array<int32_t, 256> byte_ids_;  // pieces' numbers; -1: none
  std::vector<std::pair<std::string_view, uint32_t>> specials_;
  std::vector<int32_t> prefix_;  // the model's ids
};

}  // namespace glint
