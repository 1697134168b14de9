#pragma once
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/import/checkpoint.h"
#include "lib/error.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

// Opens a checkpoint of `file_bytes` and reads its tensors; where they share no bytes, all of them.
inline void ReadCheckpoint(const std::string& path, uint64_t file_bytes, bool disjoint) {
  const auto checkpoint = Checkpoint::Open(path);
  uint64_t total = 0;
  for (const SourceTensor& tensor : checkpoint->tensors()) {
    const uint64_t bytes = tensor.elements * ElementBytes(tensor.type);
    Require(bytes <= file_bytes, "a tensor is within the file");
    total += bytes;
    Require(!disjoint || total <= file_bytes, "tensors share no bytes");
    const uint64_t part = std::min<uint64_t>(tensor.elements, 4096);
    std::vector<uint8_t> raw(part * ElementBytes(tensor.type));
    checkpoint->ReadRaw(tensor, tensor.elements - part, part, raw.data());
    std::vector<float> numbers(part);
    try {
      checkpoint->ReadF32(tensor, 0, part, numbers.data());
    } catch (const Error&) {  // types that f32 cannot hold
    }
  }
}

}  // namespace glint::fuzz
