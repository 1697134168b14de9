#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace glint {

// An array of a NumPy file (version 1, C order, little-endian f4, i4 or i8).
struct NpyArray {
  std::vector<uint64_t> shape;
  std::vector<float> floats;      // f4
  std::vector<int64_t> integers;  // i4, i8

  uint64_t Dim(size_t i) const { return shape.at(i); }
};

NpyArray ReadNpy(const std::string& path);  // throws std::runtime_error

}  // namespace glint
