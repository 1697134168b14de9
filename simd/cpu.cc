#include "simd/cpu.h"
#include "simd/cpu_info.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif (defined(__aarch64__) || defined(__arm__)) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace glint {
namespace {

struct FeatureName {
  uint32_t feature;
  const char* name;
};
constexpr FeatureName kFeatureNames[] = {
    {kCpuAvx2, "avx2"},     {kCpuAvxVnni, "avxvnni"},
    {kCpuAvx512, "avx512"}, {kCpuAvx512Vnni, "avx512vnni"},
    {kCpuNeon, "neon"},     {kCpuDotProd, "dotprod"},
    {kCpuI8mm, "i8mm"},     {kCpuNeon32, "neon32"},
};

}  // namespace

#if defined(__x86_64__)

uint32_t CpuFeatures() {
  uint32_t features = 0;
  __builtin_cpu_init();  // Reads CPUID and XGETBV: also covers the operating system's side.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c") || !__builtin_cpu_supports("bmi") ||
      !__builtin_cpu_supports("bmi2")) {
    return features;
  }
  features |= kCpuAvx2;
  if (__builtin_cpu_supports("avxvnni")) features |= kCpuAvxVnni;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return features;
  }
  features |= kCpuAvx512;
  if (__builtin_cpu_supports("avx512vnni")) features |= kCpuAvx512Vnni;
  return features;
}

std::string CpuModelName() {
  uint32_t words[12] = {};
  for (unsigned i = 0; i < 3; ++i) {
    uint32_t* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3)) return "x86_64";
  }
  const char* begin = reinterpret_cast<const char*>(words);
  std::string name(begin, begin + sizeof(words));
  name.resize(name.find_last_not_of(std::string(" \0", 2)) + 1);
  name.erase(0, name.find_first_not_of(' ') == std::string::npos ? 0 : name.find_first_not_of(' '));
  return name.empty() ? "x86_64" : name;
}

#elif defined(__aarch64__)

#if defined(__APPLE__)
// Kernels that do not know the name do not know the feature.
static bool HasFeature(const char* name) {
  int value = 0;
  size_t bytes = sizeof value;
  return sysctlbyname(name, &value, &bytes, nullptr, 0) == 0 && value != 0;
}
#endif

uint32_t CpuFeatures() {
  uint32_t features = kCpuNeon;  // Part of every AArch64.
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) features |= kCpuDotProd;
  if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) features |= kCpuI8mm;
#elif defined(__APPLE__)
  if (HasFeature("hw.optional.arm.FEAT_DotProd")) features |= kCpuDotProd;
  if (HasFeature("hw.optional.arm.FEAT_I8MM")) features |= kCpuI8mm;
#endif
  return features;
}

std::string CpuModelName() {
#if defined(__APPLE__)
  char name[64] = {};
  size_t bytes = sizeof name - 1;
  if (sysctlbyname("machdep.cpu.brand_string", name, &bytes, nullptr, 0) == 0) return name;
#endif
  return "aarch64";
}

#elif defined(__arm__)

uint32_t CpuFeatures() {
  uint32_t features = 0;
#if defined(__linux__)
  // NEON alone (Cortex-A8, A9) lacks the fused multiply-add that the kernels are built on.
  const unsigned long needed = HWCAP_NEON | HWCAP_VFPv4 | HWCAP_VFPD32;
  if ((getauxval(AT_HWCAP) & needed) == needed) features |= kCpuNeon32;
#endif
  return features;
}

std::string CpuModelName() {
  return "arm";
}

#else

uint32_t CpuFeatures() {
  return 0;
}
std::string CpuModelName() {
  return "unknown";
}

#endif

std::vector<std::string> CpuFeatureNames(uint32_t features) {
  std::vector<std::string> names;
  for (const FeatureName& f : kFeatureNames) {
    if (features & f.feature) names.push_back(f.name);
  }
  return names;
}

}  // namespace glint
