#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/piece_index.h"
#include "lib/text/stretch_tokenizer.h"

namespace glint {

// A token that is sought in text before the algorithm sees it: the leftmost, of those the longest.
struct AddedToken {
  enum Flag : int32_t {
    kLeftStrip = 1,   // takes the space on its left along
    kRightStrip = 2,  // on its right
    kNormalized = 4,  // is sought in normalized text, as its own normalized text
    kParsedOnly = 8,  // EncodeParsed finds it, Encode does not
    kAllFlags = 15,
  };
  int32_t id;
  int32_t flags;
};

// Finds tokens in text: the longest at the leftmost place. Thread-safe.
class TokenFinder {
 public:
  // `text` must outlive it; of equal texts the first counts.
  void Add(std::string_view text, const AddedToken& token);
  // After the last Add. Throws Error.
  void Finish(const std::string& where);
  bool empty() const { return tokens_.empty(); }

  // The first token at or after `from`, and its place; null if there is none.
  const AddedToken* Find(std::string_view text, bool parsed, size_t from, size_t* at,
                         size_t* bytes) const;

 private:
  std::vector<AddedToken> tokens_;
  std::vector<uint8_t> bytes_, types_;
  std::vector<int32_t> ends_, index_data_;
  PieceIndex index_;
  std::array<bool, 256> begins_ = {};
};

// Any algorithm, with its added tokens and what its model puts around a text.
class AddedTokenizer : public Tokenizer {
 public:
  struct Options {
    std::vector<int32_t> prefix, suffix;  // ids around a text
    bool pairs = false;                   // a pair is prefix, a, suffix, b, suffix
  };
  // tables.added are the added tokens; control pieces that are not among them are of kParsedOnly.
  // Throws Error.
  AddedTokenizer(std::unique_ptr<StretchTokenizer> algorithm, Options options,
                 const TokenizerTables& tables, const std::string& where);

  size_t size() const override { return algorithm_->size(); }
  std::vector<int32_t> Encode(std::string_view text) const override;
  std::vector<int32_t> EncodeWithSpecial(std::string_view text) const override;
  std::vector<int32_t> EncodeParsed(std::string_view text) const override;
  std::vector<int32_t> EncodePlain(std::string_view text) const override;
  bool EncodePair(std::string_view a, std::string_view b, std::vector<int32_t>* ids,
                  std::vector<int32_t>* token_types) const override;
  int32_t FindToken(std::string_view text) const override;
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override {
    algorithm_->DecodeStep(id, state, out);
  }
  void DecodeEnd(DecodeState* state, std::string* out) const override {
    algorithm_->DecodeEnd(state, out);
  }

 private:
  template <class Stretch>
  void ForEachStretch(const TokenFinder& finder, std::string_view text, bool parsed,
                      std::vector<int32_t>* ids, Stretch stretch) const;
  void Append(std::string_view text, bool parsed, std::vector<int32_t>* ids) const;
  void AppendStretch(std::string_view text, bool first, bool parsed,
                     std::vector<int32_t>* ids) const;
  void CheckIds(const std::vector<int32_t>& ids, const char* name, const std::string& where) const;

  std::unique_ptr<StretchTokenizer> algorithm_;
  Options options_;
  TokenFinder raw_, normalized_;
  std::vector<std::string> normalized_texts_;
  std::vector<int32_t> named_;  // added tokens and control pieces
};

}  // namespace glint
