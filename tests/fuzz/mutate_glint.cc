// A .glint file: one value of the header's JSON changed; length, padding and checksum right.
#include <cstring>

#include "formats/prefix.h"
#include "tests/fuzz/mutate.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint;
  using namespace glint::fuzz;
  Random random(seed);
  uint64_t header = 0;
  if (size >= kPrefixBytes) std::memcpy(&header, data + 16, 8);
  if (random() % 6 == 0 || header == 0 || header > kMaxHeaderBytes ||
      RoundUp(kPrefixBytes + header, kDataAlignment) > size) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const std::string file(reinterpret_cast<const char*>(data), size);
  std::string tensors = file.substr(RoundUp(kPrefixBytes + header, kDataAlignment));
  std::string text = file.substr(kPrefixBytes, header);
  if (random() % 5 == 0 && !tensors.empty()) {
    // Tokenizer tables are tensors; their size stays.
    const size_t at = Below(random, tensors.size());
    const std::string changed = MutateText(tensors.substr(at, 64), 0);
    tensors.replace(at, changed.size(), changed);
  } else {
    text = MutateJson(text, random);
  }
  return Deliver(HeadBytes(text) + tensors, data, size, max_size);
}
