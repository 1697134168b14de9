#pragma once
#include <cstdint>

namespace glint {

// Zeroed memory straight from the system, 4096-byte aligned, resident only where touched. Null if there
// is none.
uint8_t* ReservePages(uint64_t bytes);
void ReleasePages(uint8_t* data, uint64_t bytes);

}  // namespace glint
