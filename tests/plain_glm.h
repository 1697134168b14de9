#pragma once
#include "tests/plain_decoder.h"

namespace glint::test {

// The same for ChatGLM-6B, the first version, in double, written from THUDM/chatglm-6b's
// modeling_chatglm.py: two positions of each token, a context that sees itself in both directions,
// the normed input as the residual, GELU in its tanh form. The tests hold it against the published
// code's outputs. A prefix comes before the context, which sees it as every token does; positions
// do not count it. `ids` must have sop, and gmask or mask.
std::vector<double> PlainGlmLogits(const nlohmann::json& config, const TensorMap& tensors,
                                   std::span<const int32_t> ids,
                                   const PlainPrefix* prefix = nullptr);

}  // namespace glint::test
