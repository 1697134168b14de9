#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace glint::fuzz {

// An input that is a folder: its files, each after a line "=== NAME".
inline constexpr std::string_view kPartMark = "=== ";

// Makes the folder anew, with the first 8 of these files, and gives their names.
std::vector<std::string> WriteParts(std::string_view input, const std::string& folder);

}  // namespace glint::fuzz
