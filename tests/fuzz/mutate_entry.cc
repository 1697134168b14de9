// libFuzzer's entrance to a mutator of mutate_formats.h or mutate_session.cc: meson defines
// FUZZ_MUTATE as its name.
#include "tests/fuzz/mutate_formats.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  using namespace glint::fuzz;
  Random random(seed);
  std::string changed(reinterpret_cast<const char*>(data), size);
  if (!FUZZ_MUTATE(&changed, random)) return LLVMFuzzerMutate(data, size, max_size);
  return Deliver(changed, data, size, max_size);
}
