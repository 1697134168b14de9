#include <algorithm>
#include <cstring>

#include "quant/encode_tile.h"

// int4 and int4x: value = table[code] * block_scale * row_scale, a signed 8-bit scale per block.
// First pass: the best real scale of each block, for each orientation of the table. The largest
// fixes the row's scale. Second pass: the integers next to those scales, by the true error with the
// codes that each of them gives.
namespace glint {
namespace {

constexpr float kLargestScale = 127.0f;

// A lane's choice of integer scale so far.
struct Choice {
  Lanes scale, error;
};

// Tries the integer scales `k`; the error is without the sum of squares, which all of them share.
void Try(const Codebook& book, const float* block, size_t n, Lanes row_scale, Lanes k,
         Choice* best) {
  const Lanes scale = k * row_scale;
  const auto [wt, tt] = SumProducts(book, block, n, Reciprocal(scale));
  const Lanes error = scale * (scale * tt - (wt + wt));
  const auto better = error < best->error;
  best->error = xsimd::select(better, error, best->error);
  best->scale = xsimd::select(better, k, best->scale);
}

// The integer scales of a block, as floats.
void ChooseScales(const Codebook& book, const float* block, size_t n, const float* row_scales,
                  const BlockScales& wanted, bool search, float* chosen) {
  const Lanes zero(0.0f), limit(kLargestScale);
  for (size_t lane = 0; lane < kTileRows; lane += Lanes::size) {
    const Lanes row_scale = Lanes::load_unaligned(row_scales + lane);
    Choice best{zero, zero};  // scale 0: the block becomes 0
    for (size_t i = 0; i < (search ? 2 : 1); ++i) {
      const Lanes scale = Lanes::load_unaligned(&wanted.scale[i][lane]);
      // The second orientation's scale may lie beyond the row's range.
      const Lanes ratio = scale * Reciprocal(row_scale);
      const Lanes k = Round(xsimd::min(xsimd::max(ratio, -limit), limit));
      if (!search) {
        best.scale = k;
        break;
      }
      for (const float step : {0.0f, -1.0f, 1.0f}) {
        const Lanes next = xsimd::min(xsimd::max(k + Lanes(step), -limit), limit);
        Try(book, block + lane, n, row_scale, next, &best);
      }
    }
    best.scale.store_unaligned(chosen + lane);
  }
}

template <size_t kBlock>
uint64_t EncodeTableTile(const MatrixLayout& layout, const EncodeOptions& options,
                         const TileRows& in, TilePlanes out) {
  constexpr size_t kCodeBytes = kBlock / 2 * kTileRows;
  // Until a block's codes are written, its bytes hold the scales found for it: nothing is
  // allocated.
  static_assert(sizeof(BlockScales) <= kCodeBytes);
  const Codebook book(options.table);
  float factors[kTileRows], inverses[kTileRows], row_scales[kTileRows] = {};
  for (size_t r = 0; r < kTileRows; ++r) {
    const Normalizer normal = NormalizerOf(in.largest[r]);
    factors[r] = normal.factor;
    inverses[r] = normal.inverse;
  }
  float block[kBlock * kTileRows];
  const auto columns = [&](uint64_t b) {
    return static_cast<size_t>(
        std::min<uint64_t>(kBlock, layout.cols - std::min(layout.cols, b * kBlock)));
  };
  for (uint64_t b = 0; b < layout.blocks; ++b) {
    GatherBlock(in, b * kBlock, columns(b), factors, block);
    const BlockScales found = FindScales(book, block, columns(b), options.search);
    std::memcpy(out.codes + b * kCodeBytes, &found, sizeof found);
    for (size_t r = 0; r < kTileRows; ++r) {
      row_scales[r] = std::max(row_scales[r], std::max(found.scale[0][r], -found.scale[0][r]));
    }
  }
  for (float& scale : row_scales) scale /= kLargestScale;

  for (uint64_t b = 0; b < layout.blocks; ++b) {
    BlockScales wanted;
    std::memcpy(&wanted, out.codes + b * kCodeBytes, sizeof wanted);
    const size_t n = columns(b);
    GatherBlock(in, b * kBlock, n, factors, block);
    float chosen[kTileRows], scales[kTileRows];
    ChooseScales(book, block, n, row_scales, wanted, options.search, chosen);
    for (size_t r = 0; r < kTileRows; ++r) {
      scales[r] = chosen[r] * row_scales[r];
      out.block_scales[b * kTileRows + r] = static_cast<uint8_t>(static_cast<int8_t>(chosen[r]));
    }
    uint8_t codes[kBlock * kTileRows];
    NearestCodes(book, block, n, scales, codes);
    PackNibbles(codes, n, in.n_rows, kBlock, out.codes + b * kCodeBytes);
  }
  for (size_t r = 0; r < kTileRows; ++r) out.row_scales[r] = row_scales[r] * inverses[r];
  return kEncoded;
}

}  // namespace

uint64_t EncodeInt4Tile(const MatrixLayout& layout, const EncodeOptions& options,
                        const TileRows& in, TilePlanes out) {
  return EncodeTableTile<32>(layout, options, in, out);
}

uint64_t EncodeInt4xTile(const MatrixLayout& layout, const EncodeOptions& options,
                         const TileRows& in, TilePlanes out) {
  return EncodeTableTile<16>(layout, options, in, out);
}

}  // namespace glint
