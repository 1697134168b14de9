#pragma once
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/text/unigram.h"

namespace glint {

// ChatGLM-6B's rules around its Unigram model (THUDM's tokenization_chatglm.py as it runs within
// transformers 4.27): a newline, a tab and a run of k spaces are pieces of their own, "<n>",
// "<|tab|>" and "<|blank_k|>"; five special tokens are recognized where they stand in text; a
// prompt ends with [gMASK] and <sop>.
class ChatGlmTokenizer : public Tokenizer {
 public:
  ChatGlmTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                   const std::string& where);

  size_t size() const override { return unigram_.size(); }
  std::vector<int32_t> Encode(std::string_view text) const override;
  std::vector<int32_t> EncodeWithSpecial(std::string_view text) const override;
  // [gMASK] too is found.
  std::vector<int32_t> EncodeParsed(std::string_view text) const override;
  std::vector<int32_t> EncodePlain(std::string_view text) const override;
  int32_t FindToken(std::string_view text) const override;
  void DecodeStep(int32_t id, DecodeState* state, std::string* out) const override;
  void DecodeEnd(DecodeState* state, std::string* out) const override;

 private:
  struct Special {
    std::string_view text;
    int32_t id;
  };
  static constexpr size_t kMaxBlank = 80;  // of the published code

  const Special* SpecialAt(std::string_view text, size_t n_sought) const;
  std::vector<int32_t> EncodeSpecials(std::string_view text, size_t n_sought) const;
  std::string WriteTags(std::string_view text) const;

  UnigramTokenizer unigram_;
  std::vector<Special> typed_;  // recognized in text; behind them [gMASK]
  int32_t gmask_id_, sop_id_, pad_id_;
  std::array<bool, kMaxBlank + 1> has_blank_ = {};
};

}  // namespace glint
