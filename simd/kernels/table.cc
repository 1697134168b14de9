// Turns this compilation of all kernels into one KernelTable.
#include "simd/cpu.h"
#include "simd/kernels/int_dot-inl.h"

#define GLINT_STRING_(x) #x
#define GLINT_STRING(x) GLINT_STRING_(x)

namespace glint::ISA {
namespace {

#if defined(__AVX512VNNI__)  // also the avxvnni sources in EVEX form, for tests
constexpr uint32_t kRequires = kCpuAvx2 | kCpuAvx512 | kCpuAvx512Vnni;
#elif defined(__AVX512BW__)
constexpr uint32_t kRequires = kCpuAvx2 | kCpuAvx512;
#elif defined(__AVXVNNI__)
constexpr uint32_t kRequires = kCpuAvx2 | kCpuAvxVnni;
#elif defined(__AVX2__)
constexpr uint32_t kRequires = kCpuAvx2;
#elif defined(__ARM_FEATURE_MATMUL_INT8)
constexpr uint32_t kRequires = kCpuNeon | kCpuDotProd | kCpuI8mm;
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr uint32_t kRequires = kCpuNeon | kCpuDotProd;
#elif defined(__arm__)
constexpr uint32_t kRequires = kCpuNeon32;
#else
constexpr uint32_t kRequires = kCpuNeon;
#endif

// In the order of DType.
constexpr bool kBiasedCodes[kDTypeCount] = {false, false, false, false, false,
                                            kBiased<false>, kBiased<true>, kBiased<true>,
                                            kBiased<false>, kBiased<true>, kBiased<true>};

}  // namespace

GLINT_DEFINE_TABLE(GLINT_STRING(ISA), kRequires, kBiasedCodes)

}  // namespace glint::ISA
