#pragma once
#include <functional>
#include <string>

#include "formats/convert/source_model.h"

namespace glint {

// A GGUF file as a source of a conversion: its metadata as our sections, its tensors as our
// weights, each in the type of ours that holds its numbers (gguf_weight.h). Throws Error.
SourceModel OpenGgufModel(const std::string& path,
                          const std::function<void(const std::string&)>& warn);

}  // namespace glint
