#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "lib/session.h"

namespace glint {

// How the hidden states of a text become one vector.
enum class Pooling : uint8_t {
  kLast,  // the last token's: in a causal model the only one that has seen the whole text
  kMean,  // the mean of all tokens', special ones that the ids hold among them
};

struct EmbeddingOptions {
  Pooling pooling = Pooling::kLast;
  bool normalize = true;  // to a Euclidean length of 1; a vector of zeros stays one
};

// The embedding of a text's ids: starts a sequence of the session, whose output must be
// SessionOutput::kHidden, and pools its hidden states into *embedding (model().hidden_size()). Sums are
// in double, token by token and then element by element, so no bit depends on threads or chunks; each
// result is rounded once. *embedding is empty after a status other than kOk. Throws Error as
// Session::Start does, or for a session whose outputs are logits.
Status Embed(Session& session, std::span<const int32_t> ids, const EmbeddingOptions& options,
             std::vector<float>* embedding);

}  // namespace glint
