#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace glint {

// A published pattern that cuts text into words before byte-pair merges, which never cross words;
// as a scanner, in linear time.
struct PreTokenizer {
  const char* name;
  const char* pattern;  // as its publishers write it
  // Bytes of the first word of `text`, valid UTF-8 and not empty.
  size_t (*first_word)(std::string_view text);
};

// "gpt2", "llama3", "qwen2", "glm4". Throws Error, beginning with `where`, that lists these.
const PreTokenizer& FindPreTokenizer(std::string_view name, const std::string& where);
// The one with this pattern, also in other published spellings; null if it is none of these.
const PreTokenizer* FindPattern(std::string_view pattern);

}  // namespace glint
