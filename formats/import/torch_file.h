#pragma once
#include <vector>

#include "formats/import/checkpoint.h"
#include "formats/import/input_file.h"

namespace glint {

// The tensors of a PyTorch checkpoint: the zip file that torch.save has written since PyTorch 1.6.
// Only the directory and the pickle are read. Their `file` is 0; tied tensors share file and
// offset. Throws Error.
std::vector<SourceTensor> ReadTorchFile(const InputFile& file);

}  // namespace glint
