#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/model.h"

namespace glint {

// Where the tokens of one sequence stand: what its position inputs are, and how much of it sees itself
// in both directions. Fixed by the prompt; later tokens follow from it.
struct SequencePositions {
  size_t prefix_len = 0;  // context tokens, bidirectional
  int32_t mask_at = 0;    // index of the mask token that the reply fills
};

// How a model numbers its tokens. One row per scheme that a file may name.
struct PositionScheme {
  const char* name;      // in the file: prompt.position_scheme
  size_t n_positions;    // graph inputs "position.0", ...
  // False, with the reason in *why, if a file lacks an id that the scheme needs.
  bool (*check)(const PromptIds& ids, std::string* why);
  // Reads a new sequence's prompt. False, with the reason in *why, if it cannot start a sequence.
  bool (*start)(std::span<const int32_t> prompt, const PromptIds& ids, SequencePositions* sequence,
                std::string* why);
  // Positions of the token at cache index i.
  void (*at)(const SequencePositions& sequence, size_t i, int32_t* positions);
};

const PositionScheme* FindPositionScheme(const std::string& name);  // null if there is none
std::string PositionSchemeNames();  // "glm-2d, sequential", for messages

}  // namespace glint
