#pragma once
#include <cstdint>
#include <string>

#include "formats/convert/inverse_factor.h"
#include "formats/convert/model_writer.h"
#include "lib/thread_pool.h"
#include "quant/encode.h"

namespace glint {

// Whether this build can do what this header and inverse_factor.h offer.
bool GptqAvailable();

struct GptqResult {
  double error;   // tr(dW H dW^T) of the Hessian as it was summed: the output's squared error
  double damped;  // the same of the damped one, which the rounding minimizes
};

// Encodes a matrix so that its outputs, not its weights, come close: GPTQ. `read` delivers the rows
// (from several threads). `tensor` (layout.bytes, aligned to 64) gets all parts, the table too.
GptqResult GptqEncode(const MatrixLayout& layout, const EncodeOptions& options, const ReadRows& read,
                      const InverseFactor& factor, const std::string& name, ThreadPool& pool,
                      uint8_t* tensor);

}  // namespace glint
