#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

namespace glint {

enum class LogLevel : uint8_t {
  kInfo,     // what was opened, chosen, reserved
  kWarning,  // it goes on, but somebody may want to know
  kError,    // what an Error that is being thrown says
};

// Gets lines that tell a support person what the library does while it loads; without one it is
// silent, and nothing is logged while a session runs. Called by whichever thread opens the model or
// makes a session, so maybe by several at once. Must not throw.
using Log = std::function<void(LogLevel level, std::string_view line)>;

}  // namespace glint
