#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/f16.h"
#include "tests/import_files.h"

// Encoders of some GGUF tensor types by plain rounding, with what their codes stand for; written
// from the formats' rules (ggml-org/llama.cpp, gguf-py/gguf/quants.py), not from the decoders.
namespace glint::test {

// Values of one row of a tensor: the bytes in the file, and the numbers that they mean.
struct GgufRow {
  std::string bytes;
  std::vector<float> values;
};

struct GgufEncoder {
  const char* name;
  uint32_t id;         // ggml_type
  uint32_t file_type;  // general.file_type of a file whose matrices are of it
  size_t block;        // elements
  void (*encode)(const float* x, GgufRow* row);  // one block, appended
};

inline float GgufHalf(float value, std::string* bytes) {
  const uint16_t half = F32ToF16(value);
  *bytes += U16(half);
  return F16ToF32(half);
}

// 32 codes of 4 bits: element i low in byte i, element 16 + i high.
inline void GgufNibbles(const int (&codes)[32], std::string* bytes) {
  for (int i = 0; i < 16; ++i)
    *bytes += static_cast<char>((codes[i] & 15) | (codes[16 + i] & 15) << 4);
}

// The value of largest magnitude, with its sign.
inline float GgufExtreme(const float* x) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// round(x / step) within [low, high]; 0 if the step is 0.
inline int GgufCode(float x, float step, int low, int high) {
  if (step == 0) return 0;
  const int code = static_cast<int>(std::floor(x / step + 0.5f));
  return code < low ? low : code > high ? high : code;
}

inline void EncodeF32(const float* x, GgufRow* row) {
  row->bytes += Bytes(*x);
  row->values.push_back(*x);
}
inline void EncodeF16(const float* x, GgufRow* row) {
  row->values.push_back(GgufHalf(*x, &row->bytes));
}
inline void EncodeBF16(const float* x, GgufRow* row) {
  const uint16_t bits = F32ToBF16(*x);
  row->bytes += U16(bits);
  row->values.push_back(BF16ToF32(bits));
}

// d * code, codes -127..127.
inline void EncodeQ8_0(const float* x, GgufRow* row) {
  const float step = std::fabs(GgufExtreme(x)) / 127;
  const float d = GgufHalf(step, &row->bytes);
  for (int i = 0; i < 32; ++i) {
    const int code = GgufCode(x[i], step, -127, 127);
    row->bytes += static_cast<char>(code);
    row->values.push_back(d * static_cast<float>(code));
  }
}

// d * (code - 8); the extreme value has code 0.
inline void EncodeQ4_0(const float* x, GgufRow* row) {
  const float step = GgufExtreme(x) / -8;
  const float d = GgufHalf(step, &row->bytes);
  int codes[32];
  for (int i = 0; i < 32; ++i) {
    codes[i] = 8 + GgufCode(x[i], step, -8, 7);
    row->values.push_back(d * static_cast<float>(codes[i] - 8));
  }
  GgufNibbles(codes, &row->bytes);
}

// d * code + m.
inline void EncodeQ4_1(const float* x, GgufRow* row) {
  float low = x[0], high = x[0];
  for (int i = 1; i < 32; ++i) {
    low = std::fmin(low, x[i]);
    high = std::fmax(high, x[i]);
  }
  const float step = (high - low) / 15;
  const float d = GgufHalf(step, &row->bytes), m = GgufHalf(low, &row->bytes);
  int codes[32];
  for (int i = 0; i < 32; ++i) {
    codes[i] = GgufCode(x[i] - low, step, 0, 15);
    row->values.push_back(d * static_cast<float>(codes[i]) + m);
  }
  GgufNibbles(codes, &row->bytes);
}

// d * (code - 16), 5 bits: the upper bits of all codes in 32 bits before the nibbles.
inline void EncodeQ5_0(const float* x, GgufRow* row) {
  const float step = GgufExtreme(x) / -16;
  const float d = GgufHalf(step, &row->bytes);
  int codes[32];
  uint32_t upper = 0;
  for (int i = 0; i < 32; ++i) {
    codes[i] = 16 + GgufCode(x[i], step, -16, 15);
    upper |= static_cast<uint32_t>(codes[i] >> 4) << i;
    row->values.push_back(d * static_cast<float>(codes[i] - 16));
  }
  row->bytes += U32(upper);
  GgufNibbles(codes, &row->bytes);
}

inline const GgufEncoder& GgufEncoderOf(const std::string& name) {
  static const GgufEncoder kEncoders[] = {
      {"F32", 0, 0, 1, EncodeF32},    {"F16", 1, 1, 1, EncodeF16},
      {"Q4_0", 2, 2, 32, EncodeQ4_0}, {"Q4_1", 3, 3, 32, EncodeQ4_1},
      {"Q5_0", 6, 8, 32, EncodeQ5_0}, {"Q8_0", 8, 7, 32, EncodeQ8_0},
      {"BF16", 30, 32, 1, EncodeBF16}};
  for (const GgufEncoder& encoder : kEncoders) {
    if (name == encoder.name) return encoder;
  }
  throw std::runtime_error("gguf_encoders: no type " + name);
}

// A row of whole blocks.
inline GgufRow GgufEncodeRow(const GgufEncoder& encoder, const float* x, size_t n) {
  if (n % encoder.block != 0) throw std::runtime_error("gguf_encoders: not whole blocks");
  GgufRow row;
  for (size_t i = 0; i < n; i += encoder.block) encoder.encode(x + i, &row);
  return row;
}

}  // namespace glint::test
