#pragma once
#include "quant/encode.h"

namespace glint {

// A table for one tensor, fitted to its own weights (docs/QUANT.md). `rows` are a sample of the
// tensor's rows, best 256 or more, spread over it; of these some hundred blocks are looked at.
// The importance is that of EncodeOptions, or null. On the sample the table's weighted error is
// never above that of DefaultTable(dtype), which is returned where there is nothing to fit: a type
// without a table, no rows, nothing finite. The same on every machine. Allocates 2 MiB; takes about
// 0.1 s (docs/QUANT.md).
Int4Table FitTable(DType dtype,
                   const float* rows,  // (n_rows, cols)
                   uint64_t n_rows, uint64_t cols,
                   const float* importance);  // (cols)

}  // namespace glint
