#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/f16.h"

// Blocks of GGUF's quantized types, made bit by bit by the rules of those who write them (ggml's
// quantize functions): a layout says at which bit of the block each bit of each number goes. Values
// are computed in double, which holds every product and sum exactly, and rounded once.
namespace glint::test {

using Place = size_t (*)(size_t item, size_t bit);  // 8 * byte + bit in the byte

struct Layout {
  const char* name;
  uint32_t id;
  size_t elements, bytes;
  size_t code_bits;
  Place code;
  size_t d, m;              // bytes where the halves are; m 0: there is none
  int code_zero;            // taken from each code
  bool code_signed, table;  // two's complement; looked up
  double m_sign;
  size_t sub, scale_bits;  // elements that share a step; 0 bits: there are no steps
  Place scale, minimum;
  int scale_zero;
  bool scale_signed;
};

inline constexpr int kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};

inline size_t Nibbles(size_t byte, size_t i, size_t b) {
  return 8 * (byte + i % 16) + (i < 16 ? 0 : 4) + b;
}
// Two bits of each of 256: 128 elements take 32 bytes, in which the next 32 follow 2 bits higher.
inline size_t Pairs(size_t byte, size_t i, size_t b) {
  const size_t j = i / 128 * 128, l = i % 32, p = (i - j) / 32;
  return 8 * (byte + j / 4 + l) + 2 * p + b;
}
// 64 elements take 32 bytes: the first half low, the second high.
inline size_t Halves(size_t byte, size_t i, size_t b) {
  return 8 * (byte + i / 64 * 32 + i % 32) + (i % 64 < 32 ? 0 : 4) + b;
}
// The steps of Q4_K and Q5_K: j < 4 in bytes 4 + j and 8 + j; the others in the nibbles of byte
// 8 + j, with their upper bits on top of bytes j and 4 + j.
inline size_t ScaleK(size_t j, size_t b) {
  if (j < 4) return 8 * (4 + j) + b;
  return b < 4 ? 8 * (4 + j + 4) + b : 8 * (4 + j - 4) + 6 + b - 4;
}
inline size_t MinimumK(size_t j, size_t b) {
  if (j < 4) return 8 * (4 + j + 4) + b;
  return b < 4 ? 8 * (4 + j + 4) + 4 + b : 8 * (4 + j) + 6 + b - 4;
}

inline const Layout kLayouts[] = {
    {"Q4_0", 2, 32, 18, 4, [](size_t i, size_t b) { return Nibbles(2, i, b); }, 0, 0, 8, false,
     false, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q4_1", 3, 32, 20, 4, [](size_t i, size_t b) { return Nibbles(4, i, b); }, 0, 2, 0, false,
     false, 1, 32, 0, nullptr, nullptr, 0, false},
    {"Q5_0", 6, 32, 22, 5, [](size_t i, size_t b) { return b < 4 ? Nibbles(6, i, b) : 8 * 2 + i; },
     0, 0, 16, false, false, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q5_1", 7, 32, 24, 5, [](size_t i, size_t b) { return b < 4 ? Nibbles(8, i, b) : 8 * 4 + i; },
     0, 2, 0, false, false, 1, 32, 0, nullptr, nullptr, 0, false},
    {"Q8_0", 8, 32, 34, 8, [](size_t i, size_t b) { return 8 * (2 + i) + b; }, 0, 0, 0, true, false,
     0, 32, 0, nullptr, nullptr, 0, false},
    {"IQ4_NL", 20, 32, 18, 4, [](size_t i, size_t b) { return Nibbles(2, i, b); }, 0, 0, 0, false,
     true, 0, 32, 0, nullptr, nullptr, 0, false},
    {"Q2_K", 10, 256, 84, 2, [](size_t i, size_t b) { return Pairs(16, i, b); }, 80, 82, 0, false,
     false, -1, 16, 4, [](size_t j, size_t b) { return 8 * j + b; },
     [](size_t j, size_t b) { return 8 * j + 4 + b; }, 0, false},
    {"Q3_K", 11, 256, 110, 3,
     [](size_t i, size_t b) { return b < 2 ? Pairs(32, i, b) : 8 * (i % 32) + i / 32; }, 108, 0, 4,
     false, false, 0, 16, 6,
     [](size_t j, size_t b) {
       if (b >= 4) return 8 * (96 + 8 + j % 4) + 2 * (j / 4) + b - 4;
       return j < 8 ? 8 * (96 + j) + b : 8 * (96 + j - 8) + 4 + b;
     },
     nullptr, 32, false},
    {"Q4_K", 12, 256, 144, 4, [](size_t i, size_t b) { return Halves(16, i, b); }, 0, 2, 0, false,
     false, -1, 32, 6, ScaleK, MinimumK, 0, false},
    {"Q5_K", 13, 256, 176, 5,
     [](size_t i, size_t b) { return b < 4 ? Halves(48, i, b) : 8 * (16 + i % 32) + i / 32; }, 0, 2,
     0, false, false, -1, 32, 6, ScaleK, MinimumK, 0, false},
    {"Q6_K", 14, 256, 210, 6,
     [](size_t i, size_t b) {
       if (b >= 4) return Pairs(128, i, b - 4);
       const size_t p = i % 128 / 32;
       return 8 * (i / 128 * 64 + i % 64) + (p < 2 ? 0 : 4) + b;
     },
     208, 0, 32, false, false, 0, 16, 8, [](size_t j, size_t b) { return 8 * (192 + j) + b; },
     nullptr, 0, true},
    {"IQ4_XS", 23, 256, 136, 4,
     [](size_t i, size_t b) { return Nibbles(8 + i / 32 * 16, i % 32, b); }, 0, 0, 0, false, true,
     0, 32, 6, [](size_t j, size_t b) { return b < 4 ? 8 * 4 + 4 * j + b : 8 * 2 + 2 * j + b - 4; },
     nullptr, 32, false},
};

// By the definition of IEEE binary16.
inline double HalfValue(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double sign = half & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                       : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

inline void Put(std::vector<uint8_t>* block, Place place, size_t item, size_t bits,
                unsigned value) {
  for (size_t b = 0; b < bits; ++b) {
    const size_t at = place(item, b);
    if (value >> b & 1) block->at(at / 8) |= static_cast<uint8_t>(1 << at % 8);
  }
}

inline void PutHalf(std::vector<uint8_t>* block, size_t at, uint16_t half) {
  (*block)[at] = static_cast<uint8_t>(half);
  (*block)[at + 1] = static_cast<uint8_t>(half >> 8);
}

inline int Signed(unsigned value, size_t bits) {
  return value >> (bits - 1) ? static_cast<int>(value) - (1 << bits) : static_cast<int>(value);
}

struct Block {
  std::vector<uint8_t> bytes;
  std::vector<float> values;
};

// A block whose integers `next(bits)` gives.
template <class Next>
Block MakeBlock(const Layout& t, uint16_t d, uint16_t m, Next next) {
  Block block{std::vector<uint8_t>(t.bytes), {}};
  PutHalf(&block.bytes, t.d, d);
  if (t.m != 0) PutHalf(&block.bytes, t.m, m);
  double scale = 1, minimum = 1;
  for (size_t i = 0; i < t.elements; ++i) {
    if (t.scale_bits != 0 && i % t.sub == 0) {
      const unsigned step = next(t.scale_bits);
      Put(&block.bytes, t.scale, i / t.sub, t.scale_bits, step);
      scale = (t.scale_signed ? Signed(step, t.scale_bits) : static_cast<int>(step)) - t.scale_zero;
      if (t.minimum != nullptr) {
        const unsigned minimum_step = next(t.scale_bits);
        Put(&block.bytes, t.minimum, i / t.sub, t.scale_bits, minimum_step);
        minimum = minimum_step;
      }
    }
    const unsigned code = next(t.code_bits);
    Put(&block.bytes, t.code, i, t.code_bits, code);
    const int number = t.table         ? kTable[code]
                       : t.code_signed ? Signed(code, t.code_bits)
                                       : static_cast<int>(code);
    double value = HalfValue(d) * scale * (number - t.code_zero);
    if (t.m != 0) value += t.m_sign * (HalfValue(m) * minimum);
    block.values.push_back(static_cast<float>(value));
  }
  return block;
}

// Plain rounding of weights to a block: scales that just hold the largest, as a simple writer would
// choose them. What matters is that scales, steps and codes are spread as those of real files are.
class Rounder {
 public:
  Rounder(const Layout& layout, const float* weights) : t_(layout), weights_(weights) {
    const size_t sub = t_.scale_bits != 0 ? t_.sub : t_.elements;
    for (size_t begin = 0; begin < t_.elements; begin += sub) Measure(begin, sub);
    const auto larger = [](double a, double b) { return std::fabs(a) < std::fabs(b); };
    const double scale = *std::max_element(scales_.begin(), scales_.end(), larger);
    const double minimum = *std::max_element(minimums_.begin(), minimums_.end(), larger);
    d_ = F32ToF16(static_cast<float>(scale / Steps(t_.minimum ? 0 : 1)));
    m_ = F32ToF16(static_cast<float>(minimum / Steps(0)));
  }

  Block Make() {
    size_t item = 0;
    double scale = 1, minimum = 1;
    return MakeBlock(t_, d_, m_, [&](size_t) {
      const size_t sub = t_.scale_bits != 0 ? t_.sub : t_.elements;
      const size_t each = sub + (t_.scale_bits != 0) + (t_.scale_bits != 0 && t_.minimum);
      const size_t at = item / each, in = item++ % each, first_code = each - sub;
      if (in < first_code) {
        const bool is_scale = in == 0;
        const double d = HalfValue(is_scale ? d_ : m_);
        const double wanted = is_scale ? scales_[at] : minimums_[at];
        const int zero = is_scale && !t_.scale_signed ? t_.scale_zero : 0;
        const int low = is_scale ? (t_.scale_signed ? -128 : -t_.scale_zero) : 0;
        const int high = low + (1 << t_.scale_bits) - 1;
        const int step =
            std::clamp(d == 0 ? 0 : static_cast<int>(std::lround(wanted / d)), low, high);
        (is_scale ? scale : minimum) = d * step;
        return static_cast<unsigned>(step + zero) & ((1u << t_.scale_bits) - 1);
      }
      if (t_.scale_bits == 0) scale = HalfValue(d_), minimum = HalfValue(m_);
      return Code(weights_[at * sub + in - first_code], scale, t_.m != 0 ? t_.m_sign * minimum : 0);
    });
  }

 private:
  // What the largest scale is divided by: 1 where there are no steps.
  double Steps(int is_signed) const {
    if (t_.scale_bits == 0) return 1;
    return is_signed ? -(1 << (t_.scale_bits - 1)) : (1 << t_.scale_bits) - 1;
  }
  void Measure(size_t begin, size_t n) {
    const float* w = weights_ + begin;
    const float low = *std::min_element(w, w + n), high = *std::max_element(w, w + n);
    const int last = (1 << t_.code_bits) - 1;
    if (t_.m != 0) {
      const double least = t_.m_sign < 0 ? std::min(low, 0.0f) : low;
      scales_.push_back((high - least) / last);
      minimums_.push_back(t_.m_sign * least);
      return;
    }
    minimums_.push_back(0);
    const double largest = -low > high ? low : high;
    const double first = t_.table         ? -127
                         : t_.code_signed ? std::copysign(127, largest)
                                          : -t_.code_zero;
    scales_.push_back(largest / first);
  }
  unsigned Code(double weight, double scale, double minimum) const {
    unsigned best = 0;
    double best_error = INFINITY;
    for (unsigned code = 0; code < 1u << t_.code_bits; ++code) {
      const int number = t_.table         ? kTable[code]
                         : t_.code_signed ? Signed(code, t_.code_bits)
                                          : static_cast<int>(code);
      const double error = std::fabs(weight - (scale * (number - t_.code_zero) + minimum));
      if (error < best_error) best_error = error, best = code;
    }
    return best;
  }

  const Layout& t_;
  const float* weights_;
  std::vector<double> scales_{}, minimums_{};
  uint16_t d_ = 0, m_ = 0;
};

}  // namespace glint::test
