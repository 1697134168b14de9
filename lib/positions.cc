#include "lib/positions.h"

#include <algorithm>

namespace glint {
namespace {

bool CheckGlm2d(const PromptIds& ids, std::string* why) {
  if (ids.sop >= 0 && (ids.gmask >= 0 || ids.mask >= 0)) return true;
  *why = "position scheme 'glm-2d' needs 'sop_id' and 'gmask_id' or 'mask_id'";
  return false;
}

// GLM's two-dimensional positions (Du et al. 2022, section 2.3; modeling_chatglm.py, get_position_ids).
// Context, that is everything before the first <sop>: index and 0. From <sop> on: the index of the mask
// token that is being filled, and 1, 2, 3, ... [gMASK] is filled rather than [MASK] if both are there.
bool StartGlm2d(std::span<const int32_t> prompt, const PromptIds& ids, SequencePositions* sequence,
                std::string* why) {
  const auto find = [&](int32_t id) { return std::find(prompt.begin(), prompt.end(), id); };
  const auto sop = find(ids.sop);
  if (sop == prompt.end()) {
    *why = "the prompt has no <sop> (id " + std::to_string(ids.sop) + ")";
    return false;
  }
  auto mask = find(ids.gmask);
  if (mask == prompt.end()) mask = find(ids.mask);
  if (mask == prompt.end()) {
    *why = "the prompt has neither [gMASK] (id " + std::to_string(ids.gmask) + ") nor [MASK] (id " +
           std::to_string(ids.mask) + ")";
    return false;
  }
  sequence->prefix_len = static_cast<size_t>(sop - prompt.begin());
  sequence->mask_at = static_cast<int32_t>(mask - prompt.begin());
  return true;
}

void AtGlm2d(const SequencePositions& sequence, size_t i, int32_t* positions) {
  const bool context = i < sequence.prefix_len;
  positions[0] = context ? static_cast<int32_t>(i) : sequence.mask_at;
  positions[1] = context ? 0 : static_cast<int32_t>(i - sequence.prefix_len + 1);
}

// The cache index itself; every token sees those before it. Any prompt will do but an empty one,
// which has no last token.
bool CheckSequential(const PromptIds&, std::string*) { return true; }

bool StartSequential(std::span<const int32_t> prompt, const PromptIds&, SequencePositions* sequence,
                     std::string* why) {
  *sequence = {};
  if (prompt.empty()) *why = "the prompt is empty";
  return !prompt.empty();
}

void AtSequential(const SequencePositions&, size_t i, int32_t* positions) {
  positions[0] = static_cast<int32_t>(i);
}

constexpr PositionScheme kSchemes[] = {
    {"glm-2d", 2, CheckGlm2d, StartGlm2d, AtGlm2d},
    {"sequential", 1, CheckSequential, StartSequential, AtSequential},
};

}  // namespace

const PositionScheme* FindPositionScheme(const std::string& name) {
  for (const PositionScheme& scheme : kSchemes) {
    if (name == scheme.name) return &scheme;
  }
  return nullptr;
}

std::string PositionSchemeNames() {
  std::string names;
  for (const PositionScheme& scheme : kSchemes) {
    names += std::string(names.empty() ? "" : ", ") + scheme.name;
  }
  return names;
}

}  // namespace glint
