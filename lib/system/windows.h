#pragma once
// For the files named *_windows.cc alone: Windows' header without its macros and rarely used parts, and
// what all of them need to speak UTF-16 with it.
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include <string>
#include <string_view>

namespace glint {

// What is no valid text becomes U+FFFD.
std::wstring Wide(std::string_view text);
std::string Utf8(std::wstring_view text);

// A path as the calls for files take it: absolute, and of any length (behind \\?\ where it is long).
// Device names such as NUL stay what they are.
std::wstring WidePath(const std::string& path);

// An error of Windows as a short English text; the C library's words where it knows the error too.
std::string SystemErrorText(DWORD code);

}  // namespace glint
