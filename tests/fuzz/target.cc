#include "tests/fuzz/target.h"

#include <stdexcept>

#include "lib/error.h"
#include "lib/text/utf8.h"
#include "tests/test_util.h"

namespace glint::fuzz {

void Require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

void RunTarget(void (*run)(Input), Input input) {
  try {
    run(input);
  } catch (const Error& error) {
    const std::string_view message = error.what();
    Require(!message.empty() && message.size() < 2000, "an error is one short line");
    Require(IsUtf8(message), "an error has no raw bytes");
    for (const char c : message) Require(static_cast<uint8_t>(c) >= 0x20, "an error is one line");
  }
}

const std::string& Folder() {
  static const std::string folder = TempDir();
  return folder;
}

std::string AsFile(Input input, const std::string& name) {
  std::string path = Folder() + "/" + name;
  WriteFile(path, std::string(Text(input)));
  return path;
}

uint8_t Parts::Byte() {
  if (rest_.empty()) return 0;
  const uint8_t byte = rest_[0];
  rest_ = rest_.subspan(1);
  return byte;
}

uint32_t Parts::Below(uint32_t limit) {
  const uint32_t low = Byte();
  return (low | uint32_t{Byte()} << 8) % limit;
}

std::string_view Parts::Line() {
  const std::string_view text = Text(rest_);
  const size_t end = std::min(text.find('\n'), text.size());
  rest_ = rest_.subspan(std::min(end + 1, text.size()));
  return text.substr(0, end);
}

}  // namespace glint::fuzz
