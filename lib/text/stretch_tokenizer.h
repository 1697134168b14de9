#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text/tokenizer.h"

namespace glint {

// An algorithm without added tokens: what AddedTokenizer calls for each stretch of text between
// them. By itself it finds none.
class StretchTokenizer : public Tokenizer {
 public:
  // What the algorithm does to a text before it cuts it into pieces; always UTF-8. `first`: nothing
  // stands in front of the stretch. Overwrites `out`.
  virtual void Normalize(std::string_view text, bool first, std::string* out) const = 0;
  virtual void AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const = 0;
  // The text of an id below size(); empty if it has none.
  virtual std::string_view TextOf(int32_t id) const = 0;

  void AppendStretch(std::string_view text, bool first, std::vector<int32_t>* ids) const {
    std::string normalized;
    Normalize(text, first, &normalized);
    AppendNormalized(normalized, ids);
  }
  std::vector<int32_t> Encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    AppendStretch(text, true, &ids);
    return ids;
  }
  std::vector<int32_t> EncodeWithSpecial(std::string_view text) const override {
    return Encode(text);
  }
  std::vector<int32_t> EncodeParsed(std::string_view text) const override { return Encode(text); }
  std::vector<int32_t> EncodePlain(std::string_view text) const override { return Encode(text); }
  int32_t FindToken(std::string_view text) const override {
    for (size_t id = 0; id < size() && !text.empty(); ++id) {
      if (TextOf(static_cast<int32_t>(id)) == text) return static_cast<int32_t>(id);
    }
    return -1;
  }
};

}  // namespace glint
