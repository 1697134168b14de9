#pragma once

namespace glint::reference {

// The sum of 16 partial sums, folded in halves: the order that every vector width can follow.
inline float Fold(const float (&partial)[16]) {
  float sums[8];
  for (int j = 0; j < 8; ++j) sums[j] = partial[j] + partial[j + 8];
  for (int half = 4; half >= 1; half /= 2) {
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  return sums[0];
}

}  // namespace glint::reference
