#pragma once
#include <charconv>
#include <locale>
#include <sstream>
#include <string>
#include <version>

namespace glint {

// std::from_chars of a float or double, which libc++ lacks before version 20 (Apple's, Android's NDK).
// Independent of the program's locale.
template <class T>
std::from_chars_result ParseFloat(const char* begin, const char* end, T& value) {
#if defined(__cpp_lib_to_chars)
  return std::from_chars(begin, end, value);
#else
  std::istringstream in(std::string(begin, end));
  in.imbue(std::locale::classic());
  T parsed = 0;
  if (begin == end || *begin == '+' || !(in >> std::noskipws >> parsed)) {
    return {begin, std::errc::invalid_argument};
  }
  value = parsed;
  return {in.eof() ? end : begin + static_cast<std::ptrdiff_t>(in.tellg()), std::errc()};
#endif
}

}  // namespace glint
