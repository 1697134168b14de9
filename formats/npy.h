#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace glint {

// Token ids of several sequences of one length.
struct IdMatrix {
  uint64_t rows = 0, cols = 0;
  std::vector<int32_t> ids;  // (rows, cols)
};

// Reads a NumPy file (format versions 1 to 3) that holds an array (rows, cols) of little-endian i4
// or i8 in C order, neither size 0, every number an id below `vocab_size`. Throws Error naming the
// file, and for a bad id its row and column; memory is taken only for what the file really holds.
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
IdMatrix ReadIdMatrix(const std::string& path, uint64_t vocab_size);

}  // namespace glint
