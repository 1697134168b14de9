#pragma once

namespace glint {

inline constexpr char kVersion[] = "0.1.0";
inline constexpr char kProgramName[] = "glint 0.1.0";  // metadata.created_by
// The order of every float operation (docs/KERNELS.md). Equal numbers promise equal bits.
inline constexpr int kNumerics = 1;

}  // namespace glint
