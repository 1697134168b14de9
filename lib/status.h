#pragma once
#include <cstdint>

namespace glint {

// What a computation can end with after loading has succeeded. None allocates, and the session
// stays usable after each.
enum class Status : uint8_t {
  kOk,
  kCancelled,    // the cancel flag was set; the tokens of this call were not taken
  kContextFull,  // the tokens do not fit into the context; nothing was computed
  kNonFinite,    // the logits hold inf or nan
  kFileChanged,  // the mapped file is no longer the one that was opened, before or after the call
};

// One line for a user: "the context is full", ...
const char* Describe(Status status);

}  // namespace glint
