#pragma once
#include <cstdint>
#include <span>

namespace glint {

// The .glint file of the tiny bilingual model, part of the program; empty in a build without it.
std::span<const uint8_t> BuiltinModel();

}  // namespace glint
