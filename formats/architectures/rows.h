#pragma once
#include "formats/architectures/architecture.h"

// The rows of architectures.cc, each defined in the file of its architecture.
namespace glint {

extern const Architecture kChatGlm;         // chatglm.cc
extern const char* const kChatGlm6bConfig;  // chatglm.cc
extern const Architecture kLlama;           // llama.cc
extern const char* const kLlama7bConfig;    // llama.cc

}  // namespace glint
