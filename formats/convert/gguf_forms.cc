#include "formats/convert/gguf_forms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "quant/f16.h"
#include "quant/pack_rows.h"

namespace glint {
namespace {

constexpr uint64_t kHalfBlock = 16;  // columns that share a scale in int3, int4x and int6
constexpr float kMaxStep = 127.0f;   // of an integer block scale

bool StoreHalf(float value, uint8_t* at) {
  const uint16_t half = F32ToF16(value);
  std::memcpy(at, &half, sizeof half);
  return (half & 0x7c00) != 0x7c00;
}

// Q8_0: int8 has the same codes and the same scales in f16.
bool PackQ8(const GgmlCoding&, const MatrixLayout& layout, const GgmlRow& row, uint64_t lane,
            TilePlanes tile) {
  for (uint64_t i = 0; i < layout.cols; ++i) row.codes[i] ^= 0x80;
  PackRowCodes(layout.dtype, row.codes, layout.cols, lane, tile.codes);
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    StoreHalf(row.scales[b], tile.block_scales + 2 * (b * kTileRows + lane));
  }
  return true;
}

// To int4a. kCentred: the table has level c - 8 for code c, and the minimum becomes the value of
// the middle, which is small: it loses less as f16.
template <bool kCentred>
bool PackNibbleType(const GgmlCoding& coding, const MatrixLayout& layout, const GgmlRow& row,
                    uint64_t lane, TilePlanes tile) {
  PackRowCodes(layout.dtype, row.codes, layout.cols, lane, tile.codes);
  bool fits = true;
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    const uint64_t entry = b * kTileRows + lane;
    std::memcpy(tile.block_scales + sizeof(float) * entry, row.scales + b, sizeof(float));
    if (!coding.has_minimum) continue;
    const float minimum = kCentred ? row.minimums[b] + 8.0f * row.scales[b] : row.minimums[b];
    fits = StoreHalf(minimum, tile.block_offsets + 2 * entry) && fits;
  }
  return fits;
}

// Equally spaced levels that a block's codes may take.
struct Levels {
  int low, high;
};

// To the nearest level, ties to even; `value` in levels. The sum rounds to a whole number, for a
// call of libm takes longer.
int Nearest(float value, Levels levels) {
  constexpr float kWhole = 0x1.8p23f;
  const float clamped =
      std::clamp(value, static_cast<float>(levels.low), static_cast<float>(levels.high));
  return static_cast<int>((clamped + kWhole) - kWhole);
}

// The numbers that a block of 16 has, each once.
struct Block {
  float values[64];  // by code
  uint32_t counts[64];
  int n;  // codes that there may be
};

float ErrorOf(const Block& block, float scale, Levels levels) {
  const float inverse = 1.0f / scale;
  float sum = 0;
  for (int i = 0; i < block.n; ++i) {
    if (block.counts[i] == 0) continue;
    const float value = block.values[i];
    const float error = value - scale * static_cast<float>(Nearest(value * inverse, levels));
    sum += static_cast<float>(block.counts[i]) * error * error;
  }
  return sum;
}

// The codes of a block at this scale, counted from levels.low.
void Recode(const Block& block, float scale, Levels levels, uint8_t* codes) {
  const float inverse = 1.0f / scale;
  uint8_t map[64];
  for (int i = 0; i < block.n; ++i) {
    map[i] = static_cast<uint8_t>(Nearest(block.values[i] * inverse, levels) - levels.low);
  }
  for (uint64_t i = 0; i < kHalfBlock; ++i) codes[i] = map[codes[i]];
}

void Count(const uint8_t* codes, Block* block) {
  std::fill_n(block->counts, block->n, 0u);
  for (uint64_t i = 0; i < kHalfBlock; ++i) ++block->counts[codes[i]];
}

// The integer scale of a block whose own is `scale`: one of the two nearest, by the squared error.
// The codes follow.
int8_t ChooseStep(Block* block, float scale, float row_scale, Levels levels, uint8_t* codes) {
  const float exact = scale / row_scale, low = std::floor(exact);
  float best_error = INFINITY, best = 0;
  Count(codes, block);
  for (const float step : {low, low + 1}) {
    if (step == 0 || std::fabs(step) > kMaxStep) continue;
    const float error = ErrorOf(*block, step * row_scale, levels);
    if (error < best_error) {
      best_error = error;
      best = step;
    }
  }
  if (best == 0) return 0;  // not reached: |exact| <= 127 and one of the two is not 0
  Recode(*block, best * row_scale, levels, codes);
  return static_cast<int8_t>(best);
}

float RowScale(const float* scales, uint64_t n) {
  float largest = 0;
  for (uint64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(scales[i]));
  return largest / kMaxStep;
}

// Q3_K to int3, Q5_0 and Q6_K to int6: the same levels at nearly the same scales. A step of 32 or
// more changes no code; below, a scale is off by so much that other levels may be nearer.
template <int kLow, int kHigh>
bool PackScaled(const GgmlCoding& coding, const MatrixLayout& layout, const GgmlRow& row,
                uint64_t lane, TilePlanes tile) {
  constexpr Levels kLevels = {kLow, kHigh};
  constexpr float kManySteps = -kLow;
  const float row_scale = RowScale(row.scales, layout.cols / coding.shared);
  tile.row_scales[lane] = row_scale;
  Block block;
  block.n = coding.shared == 32 ? 32 : kHigh - kLow + 1;
  for (uint64_t b = 0; b < layout.cols / kHalfBlock; ++b) {
    const float scale = row.scales[b * kHalfBlock / coding.shared];
    uint8_t* const codes = row.codes + b * kHalfBlock;
    float step = row_scale == 0 ? 0 : std::nearbyint(scale / row_scale);
    if (std::fabs(step) >= kManySteps || scale == 0 || row_scale == 0) {
      const int bias = -coding.zero - kLow;
      for (uint64_t i = 0; i < kHalfBlock; ++i) codes[i] = static_cast<uint8_t>(codes[i] + bias);
    } else {
      for (int i = 0; i < block.n; ++i) {
        block.values[i] = scale * static_cast<float>(i - coding.zero);
      }
      step = ChooseStep(&block, scale, row_scale, kLevels, codes);
    }
    tile.block_scales[b * kTileRows + lane] = static_cast<uint8_t>(static_cast<int8_t>(step));
  }
  PackRowCodes(layout.dtype, row.codes, layout.cols, lane, tile.codes);
  return true;
}

// Numbers scale * c + minimum for codes c of 0 to last, on levels without a minimum: the best step
// is one that goes into the scale a whole number of times and nearly so into the minimum.
struct Affine {
  float scale, minimum;
  int last;
};

// Q2_K to int4x. Four values on 16 levels; a negative step turns the levels round.
constexpr Levels kNibbleLevels = {-8, 7};

float ChooseNibbleStep(const Affine& affine, Block* block, const uint8_t* codes) {
  Count(codes, block);
  const float first = block->values[0], last = block->values[affine.last];
  const float low = std::min(first, last), high = std::max(first, last);
  float best_error = INFINITY, best = 0;
  const auto attempt = [&](float step) {
    if (step == 0) return;
    const float error = ErrorOf(*block, step, kNibbleLevels);
    if (error >= best_error) return;
    best_error = error;
    best = step;
  };
  for (int parts = 1; parts <= 5; ++parts) {
    attempt(affine.scale / static_cast<float>(parts));
    attempt(-affine.scale / static_cast<float>(parts));
  }
  attempt(std::max(high / 7, -low / 8));
  attempt(-std::max(high / 8, -low / 7));
  return best;
}

bool PackQ2K(const GgmlCoding& coding, const MatrixLayout& layout, const GgmlRow& row,
             uint64_t lane, TilePlanes tile) {
  Block block;
  block.n = 4;
  const auto fill = [&](uint64_t b) {
    for (int i = 0; i < 4; ++i) {
      block.values[i] = row.scales[b] * static_cast<float>(i) + row.minimums[b];
    }
  };
  const uint64_t blocks = layout.cols / coding.shared;
  for (uint64_t b = 0; b < blocks; ++b) {
    fill(b);
    const Affine affine = {row.scales[b], row.minimums[b], 3};
    row.steps[b] = ChooseNibbleStep(affine, &block, row.codes + b * kHalfBlock);
  }
  const float row_scale = RowScale(row.steps, blocks);
  tile.row_scales[lane] = row_scale;
  for (uint64_t b = 0; b < blocks; ++b) {
    uint8_t* const codes = row.codes + b * kHalfBlock;
    int8_t step = 0;
    if (row.steps[b] != 0 && row_scale != 0) {
      fill(b);
      step = ChooseStep(&block, row.steps[b], row_scale, kNibbleLevels, codes);
    }
    tile.block_scales[b * kTileRows + lane] = static_cast<uint8_t>(step);
  }
  PackRowCodes(layout.dtype, row.codes, layout.cols, lane, tile.codes);
  return true;
}

// Q5_1, Q5_K to int8. Of 1/8 to 1/4 of the scale, what meets the minimum best.
float ChooseByteStep(const Affine& affine) {
  const float span = static_cast<float>(affine.last) * affine.scale;
  const float largest = std::max(std::fabs(affine.minimum), std::fabs(affine.minimum + span));
  const float least = largest / kMaxStep;
  if (affine.scale == 0 || least == 0) return least;
  float best_error = INFINITY, best = least;
  for (int parts = 4; parts <= 16; ++parts) {
    const float step = std::fabs(affine.scale) / static_cast<float>(parts);
    if (step < least) break;
    const float levels = affine.minimum / step;
    const float error = std::fabs(levels - std::nearbyint(levels)) * step;
    if (error >= best_error) continue;
    best_error = error;
    best = step;
  }
  return best;
}

bool PackAffineBytes(const GgmlCoding& coding, const MatrixLayout& layout, const GgmlRow& row,
                     uint64_t lane, TilePlanes tile) {
  constexpr Levels kLevels = {-127, 127};
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    const Affine affine = {row.scales[b], row.minimums[b], 31};
    uint8_t* const at = tile.block_scales + 2 * (b * kTileRows + lane);
    if (!StoreHalf(ChooseByteStep(affine), at)) return false;
    uint16_t half;
    std::memcpy(&half, at, sizeof half);
    const float step = F16ToF32(half), inverse = 1.0f / step;
    uint8_t map[32] = {};
    for (int i = 0; i < 32 && step != 0; ++i) {
      const float value = affine.scale * static_cast<float>(i) + affine.minimum;
      map[i] = static_cast<uint8_t>(static_cast<int8_t>(Nearest(value * inverse, kLevels)));
    }
    uint8_t* const codes = row.codes + b * coding.shared;
    for (uint64_t i = 0; i < coding.shared; ++i) codes[i] = map[codes[i]];
  }
  PackRowCodes(layout.dtype, row.codes, layout.cols, lane, tile.codes);
  return true;
}

// The values of the codes of IQ4_NL and IQ4_XS.
constexpr Int4Table kIq4Table = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
constexpr Int4Table kInt3Levels = {-4, -3, -2, -1, 0, 1, 2, 3};
constexpr BlockOffset kNone = BlockOffset::kNone, kMin = BlockOffset::kMin;

constexpr GgufForm kForms[] = {
    {"Q4_0", DType::kInt4a, kNone, &kLinearTable, PackNibbleType<false>},
    {"Q4_1", DType::kInt4a, kMin, &kUnsignedTable, PackNibbleType<false>},
    {"Q5_0", DType::kInt6, kNone, nullptr, PackScaled<-32, 31>},
    {"Q5_1", DType::kInt8, kNone, nullptr, PackAffineBytes},
    {"Q8_0", DType::kInt8, kNone, nullptr, PackQ8},
    {"Q2_K", DType::kInt4x, kNone, &kLinearTable, PackQ2K},
    {"Q3_K", DType::kInt3, kNone, &kInt3Levels, PackScaled<-4, 3>},
    {"Q4_K", DType::kInt4a, kMin, &kLinearTable, PackNibbleType<true>},
    {"Q5_K", DType::kInt8, kNone, nullptr, PackAffineBytes},
    {"Q6_K", DType::kInt6, kNone, nullptr, PackScaled<-32, 31>},
    {"IQ4_NL", DType::kInt4a, kNone, &kIq4Table, PackNibbleType<false>},
    {"IQ4_XS", DType::kInt4a, kNone, &kIq4Table, PackNibbleType<false>},
};

}  // namespace

const GgufForm& FormOf(const GgmlType& type) {
  const GgufForm* form = std::begin(kForms);
  while (std::string_view(form->type) != type.name) ++form;
  return *form;
}

}  // namespace glint
