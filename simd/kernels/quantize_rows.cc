#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

constexpr size_t kVectors = kActivationBlock / kLanes;  // of one block
constexpr int32_t kInfinityBits = 0x7f800000;

// One block of 32 columns of one token.
HWY_INLINE void QuantizeBlock(const float* x, int8_t* codes, float* scale, int32_t* sums) {
  const F32 d;
  const I32 di;
  Floats v[kVectors];
  // Without their sign, floats compare as their bits do, and inf and nan are the greatest.
  auto largest_bits = hn::Zero(di);
  GLINT_UNROLL
  for (size_t i = 0; i < kVectors; ++i) {
    v[i] = hn::LoadU(d, x + i * kLanes);
    largest_bits = hn::Max(largest_bits, hn::BitCast(di, hn::Abs(v[i])));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest_bits));
  float largest;
  memcpy(&largest, &bits, sizeof(largest));
  const float inverse = 127.0f / largest;
  const bool finite = bits < kInfinityBits;
  if (!finite || inverse == kInfinity) {
    *scale = finite ? 0.0f : __builtin_nanf("");
    sums[0] = sums[1] = 0;
    memset(codes, 0, kActivationBlock);
    return;
  }
  *scale = largest / 127.0f;
  const auto inverses = hn::Set(d, inverse);
  const hn::Rebind<int8_t, F32> d8;
  decltype(hn::Zero(di)) half_sums[2] = {hn::Zero(di), hn::Zero(di)};
  GLINT_UNROLL
  for (size_t i = 0; i < kVectors; ++i) {
    const auto code = hn::NearestInt(hn::Mul(v[i], inverses));
    half_sums[i / kVectorsPerTile] = hn::Add(half_sums[i / kVectorsPerTile], code);
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i * kLanes);
  }
  sums[0] = hn::GetLane(hn::SumOfLanes(di, half_sums[0]));
  sums[1] = hn::GetLane(hn::SumOfLanes(di, half_sums[1]));
}

}  // namespace

void QuantizeRows(const float* x, size_t x_stride, size_t m, size_t k, QuantizedRows out,
                  size_t panel_begin, size_t panel_end) {
  const size_t blocks = (k + kActivationBlock - 1) / kActivationBlock;
  for (size_t panel = panel_begin; panel < panel_end; ++panel) {
    const size_t first = panel * kPanelTokens;
    const size_t tokens = HWY_MIN(m - first, kPanelTokens);
    for (size_t t = 0; t < tokens; ++t) {
      const float* token = x + (first + t) * x_stride;
      size_t at = first * blocks + t;  // panels before this one hold kPanelTokens tokens each
      for (size_t b = 0; b < blocks; ++b, at += tokens) {
        const size_t begin = b * kActivationBlock;
        const float* block = token + begin;
        float padded[kActivationBlock] = {};
        if (k - begin < kActivationBlock) {
          memcpy(padded, block, (k - begin) * sizeof(float));
          block = padded;
        }
        QuantizeBlock(block, out.codes + at * kActivationBlock, out.scales + at, out.sums + 2 * at);
      }
    }
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
