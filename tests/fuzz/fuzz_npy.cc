// A NumPy file of ids, as calibration reads them.
#include "formats/npy.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

void FuzzNpy(Input input) {
  const IdMatrix matrix = ReadIdMatrix(AsFile(input, "x.npy"), 1000);
  Require(matrix.ids.size() == matrix.rows * matrix.cols, "as many ids as the shape says");
  for (const int32_t id : matrix.ids) Require(id >= 0 && id < 1000, "ids are in range");
}

}  // namespace glint::fuzz
