#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/import/checkpoint.h"

namespace glint {

// A storage that the pickle refers to: the zip member data/KEY.
struct PickledStorage {
  std::string key;
  SourceType type = SourceType::kF32;
  uint64_t elements = 0;
};

// A row-major tensor, or two under two names, within a storage.
struct PickledTensor {
  std::string name;
  size_t storage = 0;   // index into PickledTensors::storages
  uint64_t offset = 0;  // elements
  uint64_t elements = 0;
  std::vector<uint64_t> shape;
};

struct PickledTensors {
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
};

// Recognises the one shape of pickle that torch.save writes for a dictionary of tensors. This is
// not an unpickler: it knows the opcodes of that shape, a dozen global names that it compares and
// never calls, and nothing else; any other opcode or name is an Error that names it, at the point
// where it is read. `where` begins each message. Takes time and memory in proportion to `bytes`.
PickledTensors RecognizePickle(std::span<const uint8_t> bytes, const std::string& where);

}  // namespace glint
