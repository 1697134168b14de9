#pragma once
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/test_util.h"

namespace glint {

// Protobuf fields, as a .model file has them.
inline std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out + static_cast<char>(value);
}
inline std::string Field(uint64_t number, uint64_t value) {
  return Varint(number << 3) + Varint(value);
}
inline std::string Field(uint64_t number, std::string_view value) {
  return Varint(number << 3 | 2) + Varint(value.size()) + std::string(value);
}
inline std::string Field(uint64_t number, float value) {
  std::string out = Varint(number << 3 | 5);
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  for (int i = 0; i < 4; ++i) out += static_cast<char>(bits >> (8 * i));
  return out;
}

// A piece of a .model; types are PieceType's numbers.
inline std::string Piece(std::string_view text, float score, uint64_t type = 1) {
  return Field(1, Field(1, text) + Field(2, score) + Field(3, type));
}

// A BPE model of 14 pieces that has all kinds but byte pieces. `trainer` are further fields of its
// trainer_spec.
inline std::string SmallBpe(const std::string& trainer = "") {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) + Piece("\u2581", -6) +
         Piece("a", -6) + Piece("b", -6) + Piece("c", -6) + Piece("ab", -1) + Piece("bc", -1) +
         Piece("aa", -2) + Piece("aaaa", -3) + Piece("\u2581a", -4) + Piece("<x>", 0, 4) +
         Piece("ca", -0.5f, 5) + Field(2, Field(3, uint64_t{2}) + trainer) +
         Field(3, Field(4, uint64_t{0}));
}

inline std::string DataDir() {
  return SourceDir() + "/tests/data";
}
// The vocabulary of the tiny model that ships with glint.
inline std::string TinyVocabulary() {
  return SourceDir() + "/examples/tiny/model/ice_text.model";
}

}  // namespace glint
