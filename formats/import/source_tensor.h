#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "formats/import/checkpoint.h"

namespace glint {

// More dimensions than any weight has: shapes stay printable.
inline constexpr size_t kMaxSourceRank = 8;

// What the readers of both containers check in the same way. False if the sizes overflow.
bool CountElements(std::span<const uint64_t> shape, uint64_t* elements);

// Throws Error (`where` begins the message) if a tensor cannot have this name: empty, not UTF-8,
// NUL.
void CheckTensorName(std::string_view name, const std::string& where);

// The type that safetensors calls `name`; false if there is none.
bool ParseSourceType(std::string_view name, SourceType* type);

}  // namespace glint
