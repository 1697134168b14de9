#include "quant/pack_rows.h"

#include <cstring>

// Four columns of a row are neighbours in a vector of the tile (byte 4 * row + column), so they
// move as one word. Every function sets all bits of its words.
namespace glint {
namespace {

constexpr uint64_t kVector = 64;  // bytes: 16 rows of 4 columns

uint32_t Word(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

void Put(uint8_t* to, uint32_t word) {
  std::memcpy(to, &word, sizeof word);
}

// The same byte four times.
constexpr uint32_t Four(uint32_t byte) {
  return byte * 0x01010101u;
}

void PackEights(const uint8_t* codes, uint64_t cols, uint8_t* at) {
  for (uint64_t c = 0; c < cols; c += 4, at += kVector) Put(at, Word(codes + c));
}

// Blocks whose first half is in the low nibbles.
template <uint64_t kBlock>
void PackFours(const uint8_t* codes, uint64_t cols, uint8_t* at) {
  for (const uint8_t* const end = codes + cols; codes != end; codes += kBlock) {
    for (uint64_t c = 0; c < kBlock / 2; c += 4, at += kVector) {
      Put(at, Word(codes + c) | Word(codes + kBlock / 2 + c) << 4);
    }
  }
}

// The words of vectors 0, 1 and 2 of a block of 16 codes of 3 bits, as nibbles.
uint32_t Threes(const uint8_t* codes, unsigned j) {
  const uint32_t code = Word(codes + 4 * j), below = Four((8u >> j) - 1);
  const uint32_t last = Word(codes + 12) >> (2 - j) & Four(1);
  return (code & below) | (code & ~below) << 1 | last << (3 - j);
}

void PackInt3Row(const uint8_t* codes, uint64_t cols, uint8_t* at) {
  for (uint64_t c = 0; c < cols; c += 32, codes += 32) {
    for (unsigned j = 0; j < 3; ++j, at += kVector) {
      Put(at, Threes(codes, j) | Threes(codes + 16, j) << 4);
    }
  }
}

void PackInt6Row(const uint8_t* codes, uint64_t cols, uint8_t* at) {
  for (uint64_t c = 0; c < cols; c += 16, codes += 16) {
    const uint32_t last = Word(codes + 12);
    for (unsigned j = 0; j < 3; ++j, at += kVector) {
      Put(at, Word(codes + 4 * j) | (last >> (4 - 2 * j) & Four(3)) << 6);
    }
  }
}

// By DType.
using Pack = void (*)(const uint8_t* codes, uint64_t cols, uint8_t* at);
constexpr Pack kPackers[kDTypeCount] = {nullptr,       nullptr,     nullptr,       nullptr,
                                        nullptr,       PackEights,  PackFours<32>, PackFours<16>,
                                        PackFours<32>, PackInt3Row, PackInt6Row};

}  // namespace

void PackRowCodes(DType dtype, const uint8_t* codes, uint64_t cols, uint64_t lane, uint8_t* tile) {
  kPackers[static_cast<size_t>(dtype)](codes, cols, tile + 4 * lane);
}

}  // namespace glint
