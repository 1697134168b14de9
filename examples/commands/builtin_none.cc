// Of a build without examples/tiny/tiny.glint.
#include "examples/commands/builtin.h"

namespace glint {

std::span<const uint8_t> BuiltinModel() {
  return {};
}

}  // namespace glint
