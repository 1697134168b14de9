// A .bin file of torch.save: zip directory, data.pkl, storages.
#include "tests/fuzz/read_checkpoint.h"

namespace glint::fuzz {

void FuzzTorch(Input input) {
  ReadCheckpoint(AsFile(input, "x.bin"), input.size(), false);
}

}  // namespace glint::fuzz
