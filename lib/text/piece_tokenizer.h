#pragma once
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/normalizer.h"
#include "lib/text/piece_index.h"
#include "lib/text/stretch_tokenizer.h"

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
class PieceTokenizer : public StretchTokenizer {
 public:
  size_t size() const override { return tables_.piece_ends.size() + offset(); }
  void Normalize(std::string_view text, bool first, std::string* out) const override {
    normalizer_->Normalize(text, first, out);
  }
  std::string_view TextOf(int32_t id) const override;
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

  // The model's id of the piece with this text that is not found in text by itself or is
  // user-defined (control, unknown, user-defined); -1 if there is none.
  int32_t FindSpecial(std::string_view piece) const;

 protected:
  // Checks the tables. Throws Error.
  PieceTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                 const std::string& where);
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
};

}  // namespace glint
