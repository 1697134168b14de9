// A safetensors file: its JSON header changed, the length before it right.
#include <cstring>

#include "tests/fuzz/mutate.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint::fuzz;
  Random random(seed);
  uint64_t header = 0;
  if (size >= 8) std::memcpy(&header, data, 8);
  if (random() % 4 == 0 || size < 8 || header > size - 8) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const std::string file(reinterpret_cast<const char*>(data), size);
  const std::string text = MutateJson(file.substr(8, header), random);
  const uint64_t length = text.size();
  std::string changed(8, '\0');
  std::memcpy(changed.data(), &length, 8);
  return Deliver(changed + text + file.substr(8 + header), data, size, max_size);
}
