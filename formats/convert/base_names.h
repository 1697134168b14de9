#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/glint_file.h"

namespace glint {

// Where rows of a checkpoint's matrix are in a model of ours.
struct MatrixPart {
  std::string weight;   // our tensor
  uint64_t first_row;   // in it
  uint64_t source_row;  // the first of the checkpoint's
  uint64_t rows;
  uint64_t source_rows;  // that the checkpoint's matrix has
  uint64_t cols;
};

// By the checkpoint's names without ".weight" ("model.layers.0.self_attn.q_proj"): the matrices of
// the architecture that an open model says it is. A model of any source has them in the
// checkpoint's order of rows, whatever it was converted from. Throws Error if the architecture is
// not known.
std::map<std::string, std::vector<MatrixPart>> MatricesOf(const GlintFile& model);

}  // namespace glint
