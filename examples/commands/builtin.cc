// The built-in model lies in the program's read-only data, aligned as in a file, so that its
// weights are mapped with the program and shared like any other model's.
#include "examples/commands/builtin.h"

#include "tiny_model.h"  // made by meson: GLINT_TINY_MODEL, the path of the file

#if defined(_WIN32)
#define GLINT_READ_ONLY ".section .rdata,\"dr\"\n"
#define GLINT_HIDDEN(name) ""
#define GLINT_BACK ".text\n"
#define GLINT_SYMBOL(name) name
#elif defined(__APPLE__)
#define GLINT_READ_ONLY ".section __TEXT,__const\n"
#define GLINT_HIDDEN(name) ".private_extern " name "\n"
#define GLINT_BACK ".text\n"
#define GLINT_SYMBOL(name) "_" name
#else
#define GLINT_READ_ONLY ".pushsection .rodata\n"
#define GLINT_HIDDEN(name) ".hidden " name "\n"
#define GLINT_BACK ".popsection\n"
#define GLINT_SYMBOL(name) name
#endif

#define GLINT_BEGIN GLINT_SYMBOL("glint_tiny_model")
#define GLINT_END GLINT_SYMBOL("glint_tiny_model_end")

__asm__(
    GLINT_READ_ONLY
    ".balign 4096\n"
    GLINT_HIDDEN(GLINT_BEGIN)
    ".global " GLINT_BEGIN "\n" GLINT_BEGIN ":\n"
    ".incbin \"" GLINT_TINY_MODEL "\"\n"
    GLINT_HIDDEN(GLINT_END)
    ".global " GLINT_END "\n" GLINT_END ":\n"
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
