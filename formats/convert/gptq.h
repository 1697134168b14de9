#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "formats/convert/inverse_factor.h"
#include "lib/thread_pool.h"
#include "quant/encode.h"

// GPTQ (Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
// Transformers", algorithm 1) for the types with a codebook and integer block scales: it chooses
// scales and codes so that the outputs of a linear op come close, rather than its weights.
// docs/QUANT.md has the method and what each part of it is worth.
namespace glint {

// Whether this build has what Hessian, InverseFactor and GptqEncode need (OpenBLAS); without it
// their calls throw an Error that says so. BlasKernelName() (blas.h) names what the bytes depend
// on.
bool GptqAvailable();
// Whether GptqEncode can make this type.
bool HasGptq(DType dtype);

struct GptqOptions {
  // After the walk, how often all blocks are chosen anew, each with all the others as they are.
  size_t sweeps = 1;
};

struct GptqResult {
  // The squared error of the outputs over the calibration tokens: tr(dW H dW^T), H undamped, dW the
  // difference between the rows and what DecodeRow gives.
  double error;
};

// The same as ReadRows of model_writer.h: rows [row, row + n_rows) to out (n_rows, cols). Called
// from several threads. May throw.
using ReadMatrixRows = std::function<void(uint64_t row, uint64_t n_rows, float* out)>;

// Encodes the matrix that `read` delivers, of layout.cols = factor.n() columns, into `tensor`
// (layout.bytes, aligned to 64): all parts, the table too. Of `encode` only the table counts. Bands
// of 128 rows are shared out over the pool; the bytes do not depend on the number of threads. Takes
// some 13 bytes per column and row of a band for each thread. Throws Error, beginning with `name`,
// if a weight cannot be stored or the type is none of GPTQ's.
GptqResult GptqEncode(const MatrixLayout& layout, const EncodeOptions& encode,
                      const GptqOptions& options, const ReadMatrixRows& read,
                      const InverseFactor& factor, const std::string& name, ThreadPool& pool,
                      uint8_t* tensor);

}  // namespace glint
