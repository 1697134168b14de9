#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/encode_tile.h"

// int3, int4, int4x and int6: value = codebook[code] * block_scale * row_scale, a signed 8-bit
// scale per block. First pass: the best real scale of each block. The largest fixes the row's
// scale. Second pass: the integers next to those scales, by the true error with the codes that each
// of them gives. Then the row's scale is solved anew for the codes and integers chosen, by least
// squares: that costs nothing and can only gain.
namespace glint {
namespace {

constexpr float kLargestScale = 127.0f;
constexpr float kLargestMove = 1.0f / 256;  // of a row's scale, when it is solved anew

// One tile on its way.
class TileEncoder {
 public:
  TileEncoder(const MatrixLayout& layout, const EncodeOptions& options, const TileRows& in,
              TilePlanes out)
      : layout_(layout),
        options_(options),
        in_(in),
        out_(out),
        book_(Codebook::Of(layout.dtype, options.table)) {
    for (size_t r = 0; r < kTileRows; ++r) {
      const Normalizer normal = NormalizerOf(in.largest[r]);
      factors_[r] = normal.factor;
      inverses_[r] = normal.inverse;
    }
  }

  void Encode() {
    FindAllScales();
    for (uint64_t begin = 0; begin < layout_.padded_cols; begin += kPackedColumns) {
      EncodeUnit(begin);
    }
    for (size_t r = 0; r < kTileRows; ++r) {
      if (options_.search && tt_[r] > 0.0f) {
        // No farther than the codes can bear: a block that weighs almost nothing keeps its values.
        const float low = row_scales_[r] * (1.0f - kLargestMove);
        const float high = row_scales_[r] * (1.0f + kLargestMove);
        row_scales_[r] = std::min(std::max(xt_[r] / tt_[r], low), high);
      }
      out_.row_scales[r] = row_scales_[r] * inverses_[r];
    }
  }

 private:
  size_t BlockColumns() const { return Info(layout_.dtype).block; }
  // The bytes of a block's codes hold the scales found for it until its unit is encoded: nothing is
  // allocated.
  uint8_t* FoundScales(uint64_t b) const {
    return out_.codes + b * (layout_.codes_tile / layout_.blocks);
  }

  // Block b into block_. Returns its weight beside the row's other blocks.
  float Gather(uint64_t b) {
    const uint64_t begin = std::min(layout_.cols, b * BlockColumns());
    block_.n = static_cast<size_t>(std::min<uint64_t>(BlockColumns(), layout_.cols - begin));
    GatherBlock(in_, begin, block_.n, factors_, block_.x);
    const float weight = BlockWeights(in_, begin, block_.n, block_.weights);
    block_.Weigh();
    return weight;
  }

  void FindAllScales() {
    for (uint64_t b = 0; b < layout_.blocks; ++b) {
      Gather(b);
      float found[kTileRows];
      FindScales(book_, block_, options_.search, found);
      std::memcpy(FoundScales(b), found, sizeof found);
      for (size_t r = 0; r < kTileRows; ++r) {
        row_scales_[r] = std::max(row_scales_[r], std::fabs(found[r]));
      }
    }
    for (float& scale : row_scales_) scale /= kLargestScale;
  }

  void EncodeUnit(uint64_t begin) {
    const size_t columns = BlockColumns(), n_blocks = kPackedColumns / columns;
    float wanted[2][kTileRows];
    for (size_t i = 0; i < n_blocks; ++i) {
      std::memcpy(wanted[i], FoundScales(begin / columns + i), sizeof wanted[i]);
    }
    uint8_t codes[kPackedColumns * kTileRows];
    size_t n = 0;
    for (size_t i = 0; i < n_blocks; ++i) {
      ChooseBlock(begin / columns + i, wanted[i], codes + i * columns * kTileRows);
      n += block_.n;
    }
    const uint64_t at = begin / kPackedColumns * Info(layout_.dtype).code_bytes;
    PackCodes(layout_.dtype, codes, n, in_.n_rows, out_.codes + at);
  }

  void ChooseBlock(uint64_t b, const float* wanted, uint8_t* codes) {
    const float weight = Gather(b);
    float chosen[kTileRows], scales[kTileRows];
    Products sums;
    ChooseIntegerScales(book_, block_, row_scales_, wanted, options_.search, chosen, &sums);
    for (size_t r = 0; r < kTileRows; ++r) {
      scales[r] = chosen[r] * row_scales_[r];
      const auto scale = static_cast<int8_t>(chosen[r]);
      out_.block_scales[b * kTileRows + r] = static_cast<uint8_t>(scale);
      xt_[r] += weight * (chosen[r] * sums.xt[r]);
      tt_[r] += weight * ((chosen[r] * chosen[r]) * sums.tt[r]);
    }
    NearestCodes(book_, block_.x, block_.n, scales, codes);
  }

  const MatrixLayout& layout_;
  const EncodeOptions& options_;
  const TileRows& in_;
  const TilePlanes out_;
  const Codebook book_;
  float factors_[kTileRows], inverses_[kTileRows];  // of the rows, see Normalizer
  float row_scales_[kTileRows] = {};
  // Per row, over all blocks: what the row's scale is solved from.
  float xt_[kTileRows] = {}, tt_[kTileRows] = {};
  WeightedBlock block_;
};

}  // namespace

uint64_t EncodeCodebookTile(const MatrixLayout& layout, const EncodeOptions& options,
                            const TileRows& in, TilePlanes out) {
  TileEncoder(layout, options, in, out).Encode();
  return kEncoded;
}

}  // namespace glint
