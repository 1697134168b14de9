#pragma once
#include <array>
#include <string>
#include <string_view>

#include "lib/text/charsmap.h"
#include "lib/text/piece_index.h"

namespace glint {

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581, a space within pieces

struct NormalizerOptions {
  bool add_dummy_prefix = true;             // " a" and "a" begin with the same piece
  bool remove_extra_whitespaces = true;     // at both ends, and all but one of a run
  bool escape_whitespaces = true;           // write a space as kSpaceSymbol
  bool treat_whitespace_as_suffix = false;  // the dummy space goes to the end
  // Of texts between added tokens: the dummy space only before the first; none before a space.
  bool dummy_prefix_first_only = false;
  bool dummy_prefix_unless_space = false;
};

// What sentencepiece does to text before it looks for pieces (its normalizer.cc): user-defined
// pieces pass untouched, the charsmap's rules replace the longest match, bytes that are not UTF-8
// become U+FFFD one by one, spaces are trimmed and escaped.
class Normalizer {
 public:
  // `tables` and `index` must outlive it; `index` finds the user-defined pieces. Throws Error.
  Normalizer(const NormalizerOptions& options, const TokenizerTables& tables,
             const PieceIndex& index, const std::string& where);

  // `first`: the text has nothing in front of it.
  void Normalize(std::string_view text, bool first, std::string* out) const;
  // Of the longest user-defined piece that `text` (not empty) begins with; 0 if there is none.
  size_t UserDefinedBytes(std::string_view text) const;

 private:
  // What the beginning of a text becomes, and how many of its bytes that accounts for.
  struct Step {
    std::string_view text;
    size_t bytes;
  };
  Step FirstStep(std::string_view text) const;
  void AppendEscaped(std::string_view text, std::string* out) const;

  NormalizerOptions options_;
  const TokenizerTables& tables_;
  const PieceIndex& index_;
  Charsmap charsmap_;
  std::string_view space_;
  std::array<bool, 256> begins_user_defined_ = {};
};

}  // namespace glint
