#pragma once
#include "examples/commands/options.h"

namespace glint {

// glint info --memory: what a session with these options takes, and whether this machine has it.
void PrintMemory(const ComputeOptions& options, bool as_json);

}  // namespace glint
