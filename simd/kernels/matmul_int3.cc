#include "simd/kernels/matmul_slab-inl.h"

HWY_BEFORE_NAMESPACE();
namespace glint::ISA {
namespace {

// Two blocks of 16 columns in 3 vectors, one in the low nibbles, one in the high ones. A nibble has
// the 3 bits of a code and one of the block's fourth quad; the latter's place differs by vector, so
// that the fourth quad is put together without shifts. Each nibble is looked up as it is, in a
// table that has every entry twice: once for either value of the bit that does not count.
struct Int3Weights {
  static constexpr size_t kHalves = 2, kParts = 1, kLines = 3, kScaleBytes = 1;
  static constexpr bool kSmall = true, kIntegerScales = true;
  static constexpr BlockOffset kOffset = BlockOffset::kNone;
  static constexpr int kDirectOffset = kWeightOffset<true>;

  Bytes tables[4];  // of the quads of a block

  HWY_INLINE void Set(const MatrixView& w, int offset) {
    // Entry i of table q is that of the code which the nibble i stands for in quad q.
    static constexpr int8_t kCodes[4][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7},
                                             {0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7},
                                             {0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7},
                                             {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}};
    const Bytes table = AddBytes(LoadTable16(w.Table()), SetBytes(offset));
    GLINT_UNROLL
    for (size_t q = 0; q < 4; ++q) tables[q] = Lookup(table, LoadTable16(kCodes[q]));
  }
  template <int kOffset>
  HWY_INLINE Bytes Quad(const uint8_t* codes, size_t half, size_t quad) const {
    const Bytes nibbles = quad < 3 ? LoadCodes(codes + quad * 64) : Fourth(codes);
    return Lookup(tables[quad], half ? HighNibbles(nibbles) : LowNibbles(nibbles));
  }
  static HWY_INLINE IntVec LoadScale(const uint8_t* p) { return LoadInt8AsInts(p); }

 private:
  static HWY_INLINE Bytes Fourth(const uint8_t* codes) {
    const Bytes low = SelectBits(SetBytes(0x44), LoadCodes(codes + 64), LoadCodes(codes + 128));
    return SelectBits(SetBytes(static_cast<int8_t>(0x88)), LoadCodes(codes), low);
  }
};

}  // namespace

void MatmulInt3(const MatrixView& w, QuantizedRows x, size_t m, const float* bias, float* y,
                size_t y_stride, size_t tile_begin, size_t tile_end) {
  RunQuantized(QuantizedMatmul<Int3Weights>{w, x, bias, y, y_stride}, m, tile_begin, tile_end);
}

}  // namespace glint::ISA
HWY_AFTER_NAMESPACE();
