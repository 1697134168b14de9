#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/encode_tile.h"
#include "quant/f16.h"

// int4a: blocks of 32 with an f32 scale. Without an offset the scale is searched as int4's; with
// one, smallest and largest value of the block map onto the ends of the table. Mostly int4a holds
// what other formats quantized (PackInt4a): these encoders are plain rather than fast.
namespace glint {
namespace {

constexpr size_t kBlock = 32;

// One row's part of a block: what is stored, but for the codes.
struct Parts {
  float scale;
  int8_t zero;   // kZero
  uint16_t min;  // kMin, f16
};

uint8_t NearestCode(const Int4Table& table, double x) {
  uint8_t code = 0;
  while (code < 15 && x > 0.5 * (table[code] + table[code + 1])) ++code;
  return code;
}

// scale * (table[code] - zero). The range includes 0, so that 0 is near a value.
Parts EncodeZero(const Int4Table& table, const float* x, size_t n, uint8_t* codes) {
  double low = 0, high = 0;
  for (size_t i = 0; i < n; ++i) {
    low = std::min(low, double{x[i * kTileRows]});
    high = std::max(high, double{x[i * kTileRows]});
  }
  Parts parts{static_cast<float>((high - low) / (table.back() - table.front())), 0, 0};
  if (parts.scale > 0) {
    const double zero = std::floor(table.front() - low / parts.scale + 0.5);
    parts.zero = static_cast<int8_t>(std::clamp(zero, -128.0, 127.0));
  }
  for (size_t i = 0; i < n; ++i) {
    const double steps = parts.scale > 0 ? x[i * kTileRows] / double{parts.scale} : 0.0;
    codes[i * kTileRows] = NearestCode(table, steps + parts.zero);
  }
  return parts;
}

// scale * table[code] + min.
Parts EncodeMin(const Int4Table& table, const float* x, size_t n, uint8_t* codes) {
  double low = x[0], high = x[0];
  for (size_t i = 0; i < n; ++i) {
    low = std::min(low, double{x[i * kTileRows]});
    high = std::max(high, double{x[i * kTileRows]});
  }
  Parts parts{static_cast<float>((high - low) / (table.back() - table.front())), 0, 0};
  parts.min = F32ToF16(static_cast<float>(low - double{parts.scale} * table.front()));
  const double min = F16ToF32(parts.min);
  for (size_t i = 0; i < n; ++i) {
    const double steps = parts.scale > 0 ? (x[i * kTileRows] - min) / parts.scale : table.front();
    codes[i * kTileRows] = NearestCode(table, steps);
  }
  return parts;
}

using EncodeRow = Parts (*)(const Int4Table& table, const float* x, size_t n, uint8_t* codes);
constexpr EncodeRow kOffsetEncoders[kBlockOffsetCount] = {nullptr, EncodeZero, EncodeMin};

// The block without offset, all rows at once. It is normalized by itself: its scale is its own.
void EncodePlain(const EncodeOptions& options, const float* from, WeightedBlock* block,
                 float* scales, uint8_t* codes) {
  float largest[kTileRows] = {};
  for (size_t i = 0; i < block->n * kTileRows; ++i) {
    float& lane = largest[i % kTileRows];
    lane = std::max(lane, std::fabs(from[i]));
  }
  Normalizer normal[kTileRows];
  for (size_t r = 0; r < kTileRows; ++r) normal[r] = NormalizerOf(largest[r]);
  for (size_t i = 0; i < block->n * kTileRows; ++i) {
    block->x[i] = from[i] * normal[i % kTileRows].factor;
  }
  block->Weigh();
  const Codebook book = Codebook::Of(DType::kInt4a, options.table);
  FindScales(book, *block, options.search, scales);
  NearestCodes(book, block->x, block->n, scales, codes);
  for (size_t r = 0; r < kTileRows; ++r) scales[r] *= normal[r].inverse;
}

}  // namespace

uint64_t EncodeInt4aTile(const MatrixLayout& layout, const EncodeOptions& options,
                         const TileRows& in, TilePlanes out) {
  const EncodeRow encode_row = kOffsetEncoders[static_cast<size_t>(layout.offset)];
  float ones[kTileRows];
  std::fill_n(ones, kTileRows, 1.0f);
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    float block[kBlock * kTileRows], scales[kTileRows] = {};
    int8_t zeros[kTileRows] = {};
    uint16_t mins[kTileRows] = {};
    uint8_t codes[kBlock * kTileRows];
    const auto n = static_cast<size_t>(std::min<uint64_t>(kBlock, in.cols - b * kBlock));
    GatherBlock(in, b * kBlock, n, ones, block);
    if (!encode_row) {
      WeightedBlock weighted;
      weighted.n = n;
      BlockWeights(in, b * kBlock, n, weighted.weights);
      EncodePlain(options, block, &weighted, scales, codes);
    }
    for (size_t r = 0; encode_row && r < in.n_rows; ++r) {
      const Parts parts = encode_row(options.table, block + r, n, codes + r);
      if ((parts.min & 0x7c00) == 0x7c00) return r * in.cols + b * kBlock;
      scales[r] = parts.scale;
      zeros[r] = parts.zero;
      mins[r] = parts.min;
    }
    std::memcpy(out.block_scales + b * sizeof scales, scales, sizeof scales);
    if (layout.offset == BlockOffset::kZero) {
      std::memcpy(out.block_offsets + b * sizeof zeros, zeros, sizeof zeros);
    }
    if (layout.offset == BlockOffset::kMin) {
      std::memcpy(out.block_offsets + b * sizeof mins, mins, sizeof mins);
    }
    PackNibbles(codes, n, in.n_rows, kBlock, out.codes + b * (kBlock / 2) * kTileRows);
  }
  return kEncoded;
}

}  // namespace glint
