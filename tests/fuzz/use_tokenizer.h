#pragma once
#include <string_view>

#include "lib/text/tokenizer.h"

namespace glint::fuzz {

// Encodes and decodes a text, and one of every kind of character; decodes an id of every kind.
void UseTokenizer(const Tokenizer& tokenizer, std::string_view text);

}  // namespace glint::fuzz
