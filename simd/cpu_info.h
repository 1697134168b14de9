#pragma once
#include <cstdint>
#include <string>
#include <vector>

// What `glint info --cpu` says. Apart from simd/cpu.h, because kernels include no STL.
namespace glint {

// Names of CpuFeature bits: {"avx2", "avx512", ...}.
std::vector<std::string> CpuFeatureNames(uint32_t features);

// The CPU's own name ("AMD EPYC 9R14"), or the architecture's where it has none.
std::string CpuModelName();

}  // namespace glint
