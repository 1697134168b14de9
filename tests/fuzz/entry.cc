// libFuzzer's entrance to one target: meson defines FUZZ_TARGET as the name of its function.
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  glint::fuzz::RunTarget(glint::fuzz::FUZZ_TARGET, {data, size});
  return 0;
}
