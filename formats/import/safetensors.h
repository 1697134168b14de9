#pragma once
#include <vector>

#include "formats/import/checkpoint.h"
#include "formats/import/input_file.h"

namespace glint {

// The tensors of a .safetensors file, in the order of their bytes; only the header is read. Their
// `file` is 0. The bytes must be covered exactly, without overlap or hole. Throws Error.
std::vector<SourceTensor> ReadSafetensors(const InputFile& file);

}  // namespace glint
