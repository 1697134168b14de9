// A .safetensors file: header, and every tensor's numbers.
#include <nlohmann/json.hpp>
#include <vector>

#include "formats/import/checkpoint.h"
#include "lib/error.h"
#include "tests/fuzz/read_checkpoint.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

void FuzzSafetensors(Input input) {
  ReadCheckpoint(AsFile(input, "x.safetensors"), input.size(), true);
}

}  // namespace glint::fuzz
