#pragma once
#include <cstdint>

namespace glint {

// What a kernel table may need from the CPU. Each bit implies that the operating system saves the
// registers it uses.
enum CpuFeature : uint32_t {
  kCpuAvx2 = 1 << 0,  // AVX2, FMA, F16C, BMI1, BMI2
  kCpuAvxVnni = 1 << 1,
  kCpuAvx512 = 1 << 2,  // AVX-512 F, BW, DQ, VL
  kCpuAvx512Vnni = 1 << 3,
  kCpuNeon = 1 << 4,
  kCpuDotProd = 1 << 5,
  kCpuI8mm = 1 << 6,
  kCpuNeon32 = 1 << 7,  // 32-bit ARM: NEON, and VFPv4's fused multiply-add
};

// Features of the CPU we run on. Cheap; not cached.
uint32_t CpuFeatures();

}  // namespace glint
