#pragma once
#include "lib/model.h"

namespace glint::fuzz {

// A few tokens through a model that opened, if that takes little memory: kernels see what it says.
void RunModel(const Model& model);

}  // namespace glint::fuzz
