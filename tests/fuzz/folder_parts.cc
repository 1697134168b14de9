#include "tests/fuzz/folder_parts.h"

#include <algorithm>
#include <filesystem>

#include "tests/test_util.h"

namespace glint::fuzz {
namespace {

constexpr size_t kMostFiles = 8;

// Whether the name may be made in a folder of this machine.
bool CanBeMade(std::string_view name) {
  if (name.empty() || name.size() > 60) return false;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) return false;
  }
  return name != "." && name != "..";
}

}  // namespace

std::vector<std::string> WriteParts(std::string_view input, const std::string& folder) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  std::vector<std::string> names;
  for (size_t n = 0; n < kMostFiles && input.starts_with(kPartMark); ++n) {
    input.remove_prefix(kPartMark.size());
    const size_t line = std::min(input.find('\n'), input.size());
    const std::string_view name = input.substr(0, line);
    input.remove_prefix(std::min(line + 1, input.size()));
    const size_t next = input.find("\n" + std::string(kPartMark));
    const std::string_view body = input.substr(0, next);
    input.remove_prefix(next == input.npos ? input.size() : next + 1);
    if (!CanBeMade(name)) continue;
    WriteFile(folder + "/" + std::string(name), std::string(body));
    names.emplace_back(name);
  }
  return names;
}

}  // namespace glint::fuzz
