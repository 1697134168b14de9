// The built-in model lies in the program's read-only data, aligned as in a file, so that its
// weights are mapped with the program and shared like any other model's.
#include "examples/commands/builtin.h"

#include "tiny_model.h"  // made by meson: GLINT_TINY_MODEL, the path of the file

__asm__(
    ".pushsection .rodata\n"
    ".balign 4096\n"
    ".hidden glint_tiny_model\n"
    ".global glint_tiny_model\n"
    "glint_tiny_model:\n"
    ".incbin \"" GLINT_TINY_MODEL
    "\"\n"
    ".hidden glint_tiny_model_end\n"
    ".global glint_tiny_model_end\n"
    "glint_tiny_model_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
[[gnu::visibility("hidden")]] extern const uint8_t glint_tiny_model[];
[[gnu::visibility("hidden")]] extern const uint8_t glint_tiny_model_end[];
}

namespace glint {

std::span<const uint8_t> BuiltinModel() {
  return {glint_tiny_model, glint_tiny_model_end};
}

}  // namespace glint
