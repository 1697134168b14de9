#pragma once
// What all matmuls share: the walk over a range of tiles and all tokens. A group is kLanes rows,
// one vector; a register tile is G groups times T tokens.
#include "simd/kernels/target.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Shapes of the register tiles. Every kernel's accumulators, and what it multiplies them with,
// should fit the registers: 32 of 512 bits, 16 of 256 bits, 32 of 128 bits, on 32-bit ARM 16 of
// 128 bits or 32 floats.
#if GLINT_NEON32
constexpr size_t kGroups = 1;
constexpr size_t kGemvGroups = 2;
#elif HWY_TARGET == HWY_NEON
constexpr size_t kGroups = 4;
constexpr size_t kGemvGroups = 4;
#else
constexpr size_t kGroups = 2;
constexpr size_t kGemvGroups = 4;  // with one token
#endif

// Where a tile is as many groups as a register tile has, rows beyond the matrix are computed along, from
// the padding, and not stored; else the last groups go one by one.
constexpr bool kWholeTiles = kGroups == kVectorsPerTile;

// Where group `group` of the matrix lies: its tile, and its first row within the tile.
struct GroupPlace {
  size_t tile, row_in_tile;
};
HWY_INLINE GroupPlace PlaceOf(size_t group) {
  return {group / kVectorsPerTile, group % kVectorsPerTile * kLanes};
}

// The results of one group for one token, as far as the matrix has rows.
HWY_INLINE void StoreGroup(Floats v, const MatrixView& w, size_t group, float* y) {
  if (kWholeTiles && group * kLanes >= w.layout.rows) return;
  StoreUpTo(v, y + group * kLanes, w.layout.rows - group * kLanes);
}
HWY_INLINE Floats LoadBias(const float* bias, const MatrixView& w, size_t group) {
  if (!bias || (kWholeTiles && group * kLanes >= w.layout.rows)) return hn::Zero(F32());
  return LoadUpTo(bias + group * kLanes, w.layout.rows - group * kLanes);
}

// Calls kernel.Run<G, T>(group, panel, panel_tokens, token) so that all groups of the tiles meet
// all m tokens: groups [group, group + G), and tokens [token, token + T) of the panel that begins
// at token `panel` and has panel_tokens. Groups outermost: a group's weights stay in the cache
// meanwhile.
template <size_t G, class Kernel>
HWY_INLINE void RunTokens(const Kernel& kernel, size_t group, size_t m) {
  static_assert(kPanelTokens == 4);
  for (size_t panel = 0; panel < m; panel += kPanelTokens) {
    const size_t tokens = HWY_MIN(m - panel, kPanelTokens);
    if (tokens == 4) {
      kernel.template Run<G, 4>(group, panel, 4, 0);
    } else if (tokens == 3) {
#if defined(GLINT_SMALL)
      kernel.template Run<G, 2>(group, panel, 3, 0);
      kernel.template Run<G, 1>(group, panel, 3, 2);
#else
      kernel.template Run<G, 3>(group, panel, 3, 0);
#endif
    } else if (tokens == 2) {
      kernel.template Run<G, 2>(group, panel, 2, 0);
    } else {
      kernel.template Run<G, 1>(group, panel, 1, 0);
    }
  }
}

template <class Kernel>
HWY_INLINE void RunGroups(const Kernel& kernel, const MatrixView& w, size_t m, size_t tile_begin,
                          size_t tile_end) {
  size_t end = tile_end * kVectorsPerTile;
  if constexpr (!kWholeTiles) end = HWY_MIN(end, (w.layout.rows + kLanes - 1) / kLanes);
  size_t group = tile_begin * kVectorsPerTile;
  if (m == 1) {
    for (; group + kGemvGroups <= end; group += kGemvGroups) {
      kernel.template Run<kGemvGroups, 1>(group, 0, 1, 0);
    }
  }
  for (; group + kGroups <= end; group += kGroups) RunTokens<kGroups>(kernel, group, m);
  if constexpr (!kWholeTiles) {
    for (; group < end; ++group) RunTokens<1>(kernel, group, m);
  }
}

}  // namespace
}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
