// A folder (fuzz_hf_folder.cc): one of its JSON files changed.
#include <vector>

#include "tests/fuzz/mutate.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint::fuzz;
  Random random(seed);
  if (random() % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string input(reinterpret_cast<const char*>(data), size);
  std::vector<size_t> begins;  // of the parts' first lines
  for (size_t at = input.find("=== "); at != input.npos; at = input.find("\n=== ", at + 1)) {
    begins.push_back(at == 0 || input[at] == '=' ? at : at + 1);
  }
  if (begins.empty()) return LLVMFuzzerMutate(data, size, max_size);
  const size_t which = Below(random, begins.size());
  const size_t body = std::min(input.find('\n', begins[which]), size - 1) + 1;
  const size_t end = which + 1 < begins.size() ? begins[which + 1] - 1 : size;
  if (end <= body) return LLVMFuzzerMutate(data, size, max_size);
  const std::string changed = input.substr(0, body) +
                              MutateJson(input.substr(body, end - body), random) +
                              input.substr(end);
  return Deliver(changed, data, size, max_size);
}
