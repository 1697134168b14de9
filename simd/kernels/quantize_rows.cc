#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

constexpr size_t kVectors = kActivationBlock / kLanes;  // of one block
constexpr int32_t kInfinityBits = 0x7f800000;

// One block of columns of one token.
HWY_INLINE void QuantizeBlock(const float* x, bool biased, int8_t* codes, float* scale,
                              int16_t* sums) {
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
    memset(sums, 0, kBlockSums * sizeof(*sums));
    memset(codes, biased ? 0x80 : 0, kActivationBlock);
    return;
  }
  *scale = largest / 127.0f;
  const auto inverses = hn::Set(d, inverse);
  const hn::Rebind<int8_t, F32> d8;
  // Adding 128 to a byte turns its highest bit over.
  const auto bias = hn::Set(d8, biased ? int8_t{-128} : int8_t{0});
  decltype(hn::Zero(di)) part_sums[kBlockSums];
  GLINT_UNROLL
  for (auto& sum : part_sums) sum = hn::Zero(di);
  GLINT_UNROLL
  for (size_t i = 0; i < kVectors; ++i) {
    const auto code = hn::NearestInt(hn::Mul(v[i], inverses));
    auto& sum = part_sums[i * kLanes / kSumColumns];
    sum = hn::Add(sum, code);
    hn::StoreU(hn::Xor(hn::DemoteTo(d8, code), bias), d8, codes + i * kLanes);
  }
  GLINT_UNROLL
  for (size_t i = 0; i < kBlockSums; ++i) {
    sums[i] = static_cast<int16_t>(hn::GetLane(hn::SumOfLanes(di, part_sums[i])));
  }
}

}  // namespace

void QuantizeRows(const float* x, size_t x_stride, size_t m, size_t k, bool biased,
                  QuantizedRows out, size_t panel_begin, size_t panel_end) {
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
        QuantizeBlock(block, biased, out.codes + at * kActivationBlock, out.scales + at,
                      out.sums + kBlockSums * at);
      }
    }
  }
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
