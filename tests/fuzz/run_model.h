#pragma once
#include <vector>

#include "lib/model.h"
#include "lib/session.h"

namespace glint::fuzz {

// Sessions that targets make: few tokens, one thread, chunks shorter than the prompt.
SessionOptions SmallSession();
// Ids that begin a sequence in any model, as far as it has them.
std::vector<int32_t> PromptOf(const Model& model);

// A few tokens through a model that opened, if that takes little memory: kernels see what it says.
void RunModel(const Model& model);

}  // namespace glint::fuzz
