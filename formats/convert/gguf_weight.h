#pragma once
#include <memory>
#include <string>

#include "formats/convert/source_model.h"
#include "formats/import/gguf.h"

namespace glint {

// Rows [first_row, first_row + n_rows) of a tensor seen as a matrix: all dimensions but the
// innermost are rows, so expert e of a tensor (experts, n, k) has rows e * n to e * n + n - 1.
struct GgufRows {
  uint64_t first_row = 0, n_rows = 0;
  // Not 0: the range is so many heads whose rows llama.cpp's converter has permuted for LLaMA-type
  // models (convert_hf_to_gguf.py, LlamaModel.permute). They come as the checkpoint had them: row
  // h * d + half * d/2 + i, half 0 or 1, of heads of d rows is the file's h * d + 2i + half.
  uint64_t permuted_heads = 0;
};

// A part of a GGUF tensor as a matrix (rows.n_rows, innermost dimension). `native` is always set:
// the type of ours that holds the file's numbers exactly or, where docs/QUANT.md ("GGUF") says so,
// without a visible loss. `read` and the native fill are thread-safe and read whole bands; a number
// that is inf or NaN is an Error that names its row. Throws Error: a type that cannot be read, rows
// beyond the tensor, rows that are no such heads.
SourceWeight GgufMatrix(std::shared_ptr<const Gguf> gguf, const GgufTensor& tensor,
                        const GgufRows& rows, std::string name, ImportTensor::Role role);

}  // namespace glint
