#pragma once
#include <stdexcept>
#include <string>

namespace glint {

// What loading, importing, planning and creating a session throw, and nothing else does.
// The message is one line and complete: which file, which tensor or field, what was expected,
// what was found. Text taken from a file goes through Quoted().
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

// What is asked for needs more memory than there is.
class OutOfMemory : public Error {
 public:
  explicit OutOfMemory(const std::string& message) : Error(message) {}
};

// The caller's own callback asked a load to stop.
class Cancelled : public Error {
 public:
  explicit Cancelled(const std::string& message) : Error(message) {}
};

// `text` in single quotes, safe for a terminal: control characters and invalid UTF-8 are written as
// \xNN, and what follows the first 200 bytes is cut.
std::string Quoted(std::string_view text);

}  // namespace glint
