#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace glint {

// sentencepiece's precompiled normalization rules: a list of (byte string -> byte string), such as
// those of NFKC. The blob is: u32 bytes of the trie; the trie, a double array of u32 units as
// darts-clone writes it; the replacements, each ended by a zero byte. Does not own the blob.
//
// A unit of the double array: bits 0-7 its label, bit 8 "a value follows", bit 9 the scale of the
// offset, bits 10-30 the offset to the children; with bit 31 set, bits 0-30 are a value.
class Charsmap {
 public:
  static constexpr size_t kMaxRuleBytes = 256;         // longer keys are never matched
  static constexpr size_t kMaxReplacementBytes = 255;  // NFKC's longest takes 33

  Charsmap() = default;
  // An empty blob has no rules. Throws Error, beginning with `where`, if the blob is damaged. Units
  // are not walked here: each step of Match stays within the trie whatever they say.
  Charsmap(std::span<const uint8_t> blob, const std::string& where);

  // The longest rule that matches the beginning of `text`: returns the bytes it takes and its
  // replacement; 0 if there is none.
  size_t Match(std::string_view text, std::string_view* replacement) const;

 private:
  uint32_t Unit(uint32_t at) const;

  const uint8_t* units_ = nullptr;  // perhaps not aligned
  uint32_t n_units_ = 0;
  uint32_t root_ = 0;  // offset of the root's children
  std::string_view replacements_;
};

}  // namespace glint
