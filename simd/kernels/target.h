#pragma once
// Included first by every kernel file. ISA (a macro) names this compilation's target and is its
// namespace. Kernel files use no STL and keep their own functions in anonymous namespaces: an
// inline function compiled here with -mavx512f could be the copy that the linker keeps for
// everyone.
#include <hwy/highway.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd/kernel_list.h"

// 32-bit ARM: vectors of integers are NEON's, floats are scalars (scalar_lanes-inl.h).
#undef GLINT_NEON32
#if HWY_TARGET == HWY_NEON && HWY_ARCH_ARM_V7
#define GLINT_NEON32 1
#include "simd/kernels/scalar_lanes-inl.h"
namespace hn = glint::ISA::scalar_lanes;
#else
#define GLINT_NEON32 0
namespace hn = hwy::HWY_NAMESPACE;
#endif

// Loops over the registers of a tile: their arrays live in registers only if unrolled.
#define GLINT_UNROLL _Pragma("GCC unroll 16")

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using Floats = hn::Vec<F32>;

constexpr size_t kLanes = hn::MaxLanes(F32());
static_assert(kTileRows % kLanes == 0);
// Vectors that together have 16 lanes.
constexpr size_t kVectorsPerTile = kTileRows / kLanes;

constexpr float kInfinity = __builtin_inff();

// The first n < kLanes elements at p, the other lanes 0: reads nothing beyond them.
HWY_INLINE HWY_MAYBE_UNUSED Floats LoadPartial(const float* p, size_t n) {
  HWY_ALIGN float buffer[kLanes] = {};
  memcpy(buffer, p, n * sizeof(float));
  return hn::Load(F32(), buffer);
}

HWY_INLINE HWY_MAYBE_UNUSED void StorePartial(Floats v, float* p, size_t n) {
  HWY_ALIGN float buffer[kLanes];
  hn::Store(v, F32(), buffer);
  memcpy(p, buffer, n * sizeof(float));
}

// A whole vector, or the last n elements of an array.
HWY_INLINE HWY_MAYBE_UNUSED Floats LoadUpTo(const float* p, size_t n) {
  return n >= kLanes ? hn::LoadU(F32(), p) : LoadPartial(p, n);
}
HWY_INLINE HWY_MAYBE_UNUSED void StoreUpTo(Floats v, float* p, size_t n) {
  n >= kLanes ? hn::StoreU(v, F32(), p) : StorePartial(v, p, n);
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
