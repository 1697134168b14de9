#pragma once
// The floats of 32-bit ARM. NEON flushes denormals there and divides by estimates, so float
// arithmetic is VFP's, lane by lane, which is IEEE 754 with a fused multiply-add (VFPv4). This file
// is a namespace with Highway's names: those of integers are Highway's own (NEON), those of floats
// work on four scalars. Of NEON, floats use only what cannot meet a denormal: int32 to f32 (0 or at
// least 1), and f16 to and from f32 (docs/KERNELS.md, "32-bit ARM").
#include <arm_neon.h>
#include <hwy/highway.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {
namespace scalar_lanes {

// Everything that is not declared here is Highway's.
using namespace hwy::HWY_NAMESPACE;

using Tag = Simd<float, 4, 0>;
using IntTag = Simd<int32_t, 4, 0>;
using IntVector = hwy::HWY_NAMESPACE::Vec<IntTag>;
using HalfTag = Simd<hwy::float16_t, 4, 0>;
using HalfVector = hwy::HWY_NAMESPACE::Vec<HalfTag>;

// Members, not an array: they become registers without any loop being unrolled first.
struct Lanes4 {
  float a, b, c, d;
};
struct Mask4 {
  bool a, b, c, d;
};

template <class D>
struct VecOf {
  using Type = hwy::HWY_NAMESPACE::Vec<D>;
};
template <>
struct VecOf<Tag> {
  using Type = Lanes4;
};
template <class D>
using Vec = typename VecOf<D>::Type;

template <class F>
HWY_INLINE Lanes4 Map(Lanes4 x, F f) {
  return {f(x.a), f(x.b), f(x.c), f(x.d)};
}
template <class F>
HWY_INLINE Lanes4 Map(Lanes4 x, Lanes4 y, F f) {
  return {f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d)};
}
template <class F>
HWY_INLINE Mask4 Compare(Lanes4 x, Lanes4 y, F f) {
  return {f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d)};
}

// Through memory: gcc 12 would move each lane through a core register. The empty asm hides that
// the bytes are known.
HWY_INLINE Lanes4 FromQuad(float32x4_t v) {
  HWY_ALIGN float lanes[4];
  vst1q_f32(lanes, v);
  asm("" : "+m"(lanes));
  return {lanes[0], lanes[1], lanes[2], lanes[3]};
}
HWY_INLINE float32x4_t ToQuad(Lanes4 v) {
  HWY_ALIGN float lanes[4] = {v.a, v.b, v.c, v.d};
  asm("" : "+m"(lanes));
  return vld1q_f32(lanes);
}

// Of functions that take a tag, Highway's for other tags.
template <class D>
constexpr bool kIsFloat = false;
template <>
inline constexpr bool kIsFloat<Tag> = true;
#define GLINT_FORWARD(function)                                    \
  template <class D, class... A>                                   \
    requires(!kIsFloat<D>)                                         \
  HWY_INLINE HWY_MAYBE_UNUSED auto function(D d, A... arguments) { \
    return hwy::HWY_NAMESPACE::function(d, arguments...);          \
  }
GLINT_FORWARD(Load)
GLINT_FORWARD(LoadU)
GLINT_FORWARD(Set)
GLINT_FORWARD(Zero)
GLINT_FORWARD(BitCast)
GLINT_FORWARD(ConvertTo)
GLINT_FORWARD(PromoteTo)
#undef GLINT_FORWARD

using hwy::HWY_NAMESPACE::DemoteTo;
using hwy::HWY_NAMESPACE::Store;
using hwy::HWY_NAMESPACE::StoreU;
HWY_INLINE Lanes4 Load(Tag, const float* p) { return {p[0], p[1], p[2], p[3]}; }
HWY_INLINE Lanes4 LoadU(Tag d, const float* p) { return Load(d, p); }
HWY_INLINE Lanes4 Set(Tag, float v) { return {v, v, v, v}; }
HWY_INLINE Lanes4 Zero(Tag) { return {0, 0, 0, 0}; }
HWY_INLINE void Store(Lanes4 v, Tag, float* p) {
  p[0] = v.a;
  p[1] = v.b;
  p[2] = v.c;
  p[3] = v.d;
}
HWY_INLINE void StoreU(Lanes4 v, Tag d, float* p) { Store(v, d, p); }

using hwy::HWY_NAMESPACE::Abs;
using hwy::HWY_NAMESPACE::Add;
using hwy::HWY_NAMESPACE::Mul;
using hwy::HWY_NAMESPACE::Sub;
HWY_INLINE Lanes4 Abs(Lanes4 v) {
  return Map(v, [](float x) HWY_ATTR { return __builtin_fabsf(x); });
}
HWY_INLINE Lanes4 Neg(Lanes4 v) { return Map(v, [](float x) HWY_ATTR { return -x; }); }
HWY_INLINE Lanes4 Sqrt(Lanes4 v) {
  return Map(v, [](float x) HWY_ATTR { return __builtin_sqrtf(x); });
}
HWY_INLINE Lanes4 Add(Lanes4 v, Lanes4 w) {
  return Map(v, w, [](float x, float y) HWY_ATTR { return x + y; });
}
HWY_INLINE Lanes4 Sub(Lanes4 v, Lanes4 w) {
  return Map(v, w, [](float x, float y) HWY_ATTR { return x - y; });
}
HWY_INLINE Lanes4 Mul(Lanes4 v, Lanes4 w) {
  return Map(v, w, [](float x, float y) HWY_ATTR { return x * y; });
}
HWY_INLINE Lanes4 Div(Lanes4 v, Lanes4 w) {
  return Map(v, w, [](float x, float y) HWY_ATTR { return x / y; });
}
HWY_INLINE Lanes4 MulAdd(Lanes4 v, Lanes4 w, Lanes4 add) {
  return {__builtin_fmaf(v.a, w.a, add.a), __builtin_fmaf(v.b, w.b, add.b),
          __builtin_fmaf(v.c, w.c, add.c), __builtin_fmaf(v.d, w.d, add.d)};
}
HWY_INLINE Lanes4 CopySign(Lanes4 v, Lanes4 sign) {
  return Map(v, sign, [](float x, float y) HWY_ATTR { return __builtin_copysignf(x, y); });
}

HWY_INLINE Mask4 Lt(Lanes4 v, Lanes4 w) {
  return Compare(v, w, [](float x, float y) HWY_ATTR { return x < y; });
}
HWY_INLINE Mask4 Gt(Lanes4 v, Lanes4 w) { return Lt(w, v); }
HWY_INLINE Mask4 Eq(Lanes4 v, Lanes4 w) {
  return Compare(v, w, [](float x, float y) HWY_ATTR { return x == y; });
}
HWY_INLINE Mask4 FirstN(Tag, size_t n) { return {n > 0, n > 1, n > 2, n > 3}; }
HWY_INLINE Lanes4 IfThenElse(Mask4 m, Lanes4 v, Lanes4 w) {
  return {m.a ? v.a : w.a, m.b ? v.b : w.b, m.c ? v.c : w.c, m.d ? v.d : w.d};
}
HWY_INLINE Lanes4 IfThenElseZero(Mask4 m, Lanes4 v) { return IfThenElse(m, v, Zero(Tag())); }
HWY_INLINE Lanes4 Reverse2(Tag, Lanes4 v) { return {v.b, v.a, v.d, v.c}; }

HWY_INLINE IntVector BitCast(IntTag, Lanes4 v) {
  return IntVector(vreinterpretq_s32_f32(ToQuad(v)));
}
HWY_INLINE Lanes4 BitCast(Tag, IntVector v) { return FromQuad(vreinterpretq_f32_s32(v.raw)); }
HWY_INLINE Lanes4 BitCast(Tag, hwy::HWY_NAMESPACE::Vec<Simd<uint32_t, 4, 0>> v) {
  return FromQuad(vreinterpretq_f32_u32(v.raw));
}

HWY_INLINE Lanes4 ConvertTo(Tag, IntVector v) { return FromQuad(vcvtq_f32_s32(v.raw)); }
// A sum of 1.5 * 2^23 and a smaller number has no room for a fraction. For |v| < 2^22.
HWY_INLINE IntVector NearestInt(Lanes4 v) {
  constexpr float kMagic = 0x1.8p+23f;
  const Lanes4 rounded = Add(v, Lanes4{kMagic, kMagic, kMagic, kMagic});
  return Sub(scalar_lanes::BitCast(IntTag(), rounded), IntVector(vdupq_n_s32(0x4b400000)));
}
HWY_INLINE Lanes4 PromoteTo(Tag, HalfVector v) {
  return FromQuad(vcvt_f32_f16(vreinterpret_f16_u16(v.raw)));
}
HWY_INLINE HalfVector DemoteTo(HalfTag, Lanes4 v) {
  return HalfVector(vreinterpret_u16_f16(vcvt_f16_f32(ToQuad(v))));
}

}  // namespace scalar_lanes
}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
