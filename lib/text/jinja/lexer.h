#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace glint::jinja {

struct Token {
  enum class Kind : uint8_t {
    kData,         // text between tags
    kBeginOutput,  // {{
    kEndOutput,
    kBeginTag,  // {%
    kEndTag,
    kName,
    kString,
    kInt,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind = Kind::kEnd;
  uint32_t line = 0;
  std::string text;  // of a string: without quotes and escapes
  int64_t integer = 0;
  double number = 0;
};

// Cuts a template into tokens as jinja2's lexer does, with trim_blocks and lstrip_blocks on and the
// last newline of the template dropped. Comments leave nothing. Throws Error, beginning with
// `where`.
std::vector<Token> Tokenize(std::string_view source, const std::string& where);

}  // namespace glint::jinja
