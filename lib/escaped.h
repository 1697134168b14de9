#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace glint {

// A stranger's words as part of a line for people: control characters and invalid UTF-8 are written
// as \xNN, and what follows the first `limit` bytes is cut and shown as "...". Quoted (lib/error.h) is
// the same with quotes around, for 200 bytes.
std::string Escaped(std::string_view text, size_t limit = 1000);

}  // namespace glint
