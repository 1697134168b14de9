// data.pkl alone: the recogniser of pickles that describe tensors.
#include "formats/import/torch_pickle.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

void FuzzPickle(Input input) {
  const PickledTensors pickled = RecognizePickle(input, "x.bin: data.pkl");
  for (const PickledTensor& tensor : pickled.tensors) {
    Require(tensor.storage < pickled.storages.size(), "a tensor has a storage");
    const uint64_t elements = pickled.storages[tensor.storage].elements;
    Require(tensor.elements <= elements && tensor.offset <= elements - tensor.elements,
            "a tensor is within its storage");
  }
}

}  // namespace glint::fuzz
