#pragma once
// The vector forms of Exp and Tanh (simd/scalar_math.cc): the same operations in the same order.
#include "simd/float_math.h"
#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

HWY_INLINE Floats PowerOfTwo(hn::Vec<I32> n) {
  return hn::BitCast(F32(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(I32(), 127))));
}

HWY_INLINE Floats Exp(Floats x) {
  const F32 d;
  const auto low = hn::Set(d, kExpLow), high = hn::Set(d, kExpHigh);
  auto clamped = hn::IfThenElse(hn::Lt(x, low), low, x);
  clamped = hn::IfThenElse(hn::Gt(clamped, high), high, clamped);
  const auto magic = hn::Set(d, kRoundMagic);
  const auto shifted = hn::MulAdd(clamped, hn::Set(d, kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::MulAdd(n, hn::Set(d, -kLn2High), clamped);
  r = hn::MulAdd(n, hn::Set(d, -kLn2Low), r);
  auto p = hn::Set(d, kExpTerms[0]);
  GLINT_UNROLL
  for (int i = 1; i < 8; ++i) p = hn::MulAdd(p, r, hn::Set(d, kExpTerms[i]));
  const auto whole = hn::Sub(hn::BitCast(I32(), shifted), hn::BitCast(I32(), magic));
  const auto half = hn::ShiftRight<1>(whole);
  const auto y = hn::Mul(hn::Mul(p, PowerOfTwo(half)), PowerOfTwo(hn::Sub(whole, half)));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

HWY_INLINE HWY_MAYBE_UNUSED Floats Tanh(Floats x) {
  const F32 d;
  const auto low = hn::Set(d, kTanhLow), one = hn::Set(d, 1.0f);
  const auto u = hn::Mul(hn::Abs(x), hn::Set(d, -2.0f));
  const auto clamped = hn::IfThenElse(hn::Lt(u, low), low, u);
  const auto magic = hn::Set(d, kRoundMagic);
  const auto shifted = hn::MulAdd(clamped, hn::Set(d, kLog2E), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::MulAdd(n, hn::Set(d, -kLn2High), clamped);
  r = hn::MulAdd(n, hn::Set(d, -kLn2Low), r);
  auto p = hn::Set(d, kExpTerms[0]);
  GLINT_UNROLL
  for (int i = 1; i < 6; ++i) p = hn::MulAdd(p, r, hn::Set(d, kExpTerms[i]));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  const auto s = PowerOfTwo(hn::Sub(hn::BitCast(I32(), shifted), hn::BitCast(I32(), magic)));
  const auto e = hn::MulAdd(p, s, hn::Sub(s, one));
  return hn::CopySign(hn::Div(e, hn::Add(e, hn::Set(d, 2.0f))), x);
}

// cap * tanh(x / cap): the order of the kernel softcap.
HWY_INLINE HWY_MAYBE_UNUSED Floats CapSoftly(Floats x, Floats cap) {
  return hn::Mul(cap, Tanh(hn::Div(x, cap)));
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
