// The built-in model lies in the program's read-only data, aligned as in a file, so that its
// weights are mapped with the program and shared like any other model's.
#include "examples/commands/builtin.h"

#include "tiny_model.h"  // made by meson: GLINT_TINY_MODEL, the path of the file

#if defined(_WIN32)
#define GLINT_READ_ONLY ".section .rdata,\"dr\"\n"
#define GLINT_HIDDEN(name) ""
#define GLINT_BACK ".text\n"
#else
#define GLINT_READ_ONLY ".pushsection .rodata\n"
#define GLINT_HIDDEN(name) ".hidden " name "\n"
#define GLINT_BACK ".popsection\n"
#endif

__asm__(
    GLINT_READ_ONLY
    ".balign 4096\n"
    GLINT_HIDDEN("glint_tiny_model")
    ".global glint_tiny_model\n"
    "glint_tiny_model:\n"
    ".incbin \"" GLINT_TINY_MODEL
    "\"\n"
    GLINT_HIDDEN("glint_tiny_model_end")
    ".global glint_tiny_model_end\n"
    "glint_tiny_model_end:\n"
    ".byte 0\n"
    GLINT_BACK);

extern "C" {
[[gnu::visibility("hidden")]] extern const uint8_t glint_tiny_model[];
[[gnu::visibility("hidden")]] extern const uint8_t glint_tiny_model_end[];
}

namespace glint {

std::span<const uint8_t> BuiltinModel() {
  return {glint_tiny_model, glint_tiny_model_end};
}

}  // namespace glint
