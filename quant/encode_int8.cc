#include <algorithm>
#include <cstring>

#include "quant/encode_tile.h"
#include "quant/f16.h"

// int8: value = f16 scale * code, blocks of 32. No scale below largest / 127 pays (clipping costs
// more than finer steps gain), but the rounding errors of a block vary by luck from scale to scale:
// the search takes the luckiest of some halves from there upwards.
namespace glint {
namespace {

constexpr size_t kBlock = 32;
constexpr float kLargestCode = 127.0f;
constexpr uint16_t kLargestHalf = 0x7bff;
constexpr size_t kTries = 24;
constexpr size_t kStride = 4;  // in units of the last place of a half: 0.2% to 0.4%

// The smallest half that is not below x, for 0 <= x <= 65504.
uint16_t HalfAbove(float x) {
  const uint16_t half = F32ToF16(x);
  return F16ToF32(half) < x ? static_cast<uint16_t>(half + 1) : half;
}

Lanes CodeOf(Lanes x) {
  const Lanes limit(kLargestCode);
  return Round(min(max(x, -limit), limit));
}

// Scales of a block's rows, their inverses (0 for 0), and the weighted squared errors that they
// give.
struct Scales {
  uint16_t halves[kTileRows];
  float inverses[kTileRows], errors[kTileRows];
};

void Measure(const float* block, const float* weights, size_t n, Scales* s) {
  float values[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) {
    values[r] = F16ToF32(s->halves[r]);
    s->inverses[r] = InverseOf(values[r]);
  }
  for (size_t lane = 0; lane < kTileRows; lane += Lanes::size) {
    const Lanes scale = Lanes::load_unaligned(values + lane);
    const Lanes inverse = Lanes::load_unaligned(s->inverses + lane);
    Lanes sum(0.0f);
    for (size_t c = 0; c < n; ++c) {
      const Lanes x = Lanes::load_unaligned(block + c * kTileRows + lane) * inverse;
      const Lanes e = x - CodeOf(x);
      sum += Lanes(weights[c]) * (e * e);
    }
    (sum * (scale * scale)).store_unaligned(s->errors + lane);
  }
}

Scales ChooseScales(const float* block, const float* weights, size_t n, size_t tries) {
  float largest[kTileRows] = {};
  for (size_t i = 0; i < n * kTileRows; ++i) {
    float& lane = largest[i % kTileRows];
    lane = std::max(lane, std::max(block[i], -block[i]));
  }
  Scales best;
  for (size_t r = 0; r < kTileRows; ++r) best.halves[r] = HalfAbove(largest[r] / kLargestCode);
  Measure(block, weights, n, &best);
  Scales next = best;
  for (size_t t = 1; t < tries; ++t) {
    for (uint16_t& half : next.halves) {
      half = static_cast<uint16_t>(std::min<size_t>(half + kStride, kLargestHalf));
    }
    Measure(block, weights, n, &next);
    for (size_t r = 0; r < kTileRows; ++r) {
      if (!(next.errors[r] < best.errors[r])) continue;
      best.halves[r] = next.halves[r];
      best.inverses[r] = next.inverses[r];
      best.errors[r] = next.errors[r];
    }
  }
  return best;
}

void WriteCodes(const float* block, size_t n, const float* inverses, int8_t* codes) {
  for (size_t lane = 0; lane < kTileRows; lane += Lanes::size) {
    const Lanes inverse = Lanes::load_unaligned(inverses + lane);
    for (size_t c = 0; c < n; ++c) {
      float code[Lanes::size];
      CodeOf(Lanes::load_unaligned(block + c * kTileRows + lane) * inverse).store_unaligned(code);
      for (size_t i = 0; i < Lanes::size; ++i) {
        codes[c * kTileRows + lane + i] = static_cast<int8_t>(code[i]);
      }
    }
  }
}

}  // namespace

uint64_t EncodeInt8Tile(const MatrixLayout& layout, const EncodeOptions& options,
                        const TileRows& in, TilePlanes out) {
  float ones[kTileRows];
  std::fill_n(ones, kTileRows, 1.0f);
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    float block[kBlock * kTileRows];
    const auto n = static_cast<size_t>(std::min<uint64_t>(kBlock, in.cols - b * kBlock));
    GatherBlock(in, b * kBlock, n, ones, block);
    float weights[kBlock];
    BlockWeights(in, b * kBlock, n, weights);
    const Scales best = ChooseScales(block, weights, n, options.search ? kTries : 1);
    int8_t codes[kBlock * kTileRows];
    WriteCodes(block, n, best.inverses, codes);
    std::memcpy(out.block_scales + b * sizeof best.halves, best.halves, sizeof best.halves);
    PackBytes(codes, n, in.n_rows, out.codes + b * kBlock * kTileRows);
  }
  return kEncoded;
}

}  // namespace glint
