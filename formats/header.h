#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/glint_file.h"

namespace glint {

// A tensor as the header lists it.
struct TensorEntry {
  Tensor tensor;        // without data
  uint64_t offset = 0;  // bytes from the start of the tensor data
  uint64_t xxh3 = 0;    // of the tensor's bytes
  std::string tied_to;  // not empty: a second name of that tensor; offset and xxh3 are its own
};

// The header's JSON, complete and checked.
struct FileHeader {
  ModelHeader model;
  std::vector<TensorEntry> tensors;  // in file order
  uint64_t data_bytes = 0;           // all tensors with the padding after each
};

// Lays out `tensors` (types, shapes, ties) in order: fills offset and tensor.bytes. Tied ones take
// the place and type of their tensor. Returns data_bytes. `path` begins each message. Throws Error.
uint64_t LayOut(std::vector<TensorEntry>* tensors, const std::string& path);

// The header's JSON and back. Parsing checks everything that can be told without the rest of the
// file.
std::string HeaderText(const ModelHeader& model, const std::vector<TensorEntry>& tensors,
                       const std::string& path);
FileHeader ParseHeader(std::string_view text, const std::string& path);

}  // namespace glint
