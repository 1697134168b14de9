#pragma once
#include <string>
#include <vector>

#include "formats/convert/source_model.h"

namespace glint {

// One matrix of the rows of all parts (at least two), in their order. Name, role and number of
// columns are the first part's; `place` begins messages, whose rows are those of the whole. If all
// parts are quantized to the same form and begin at whole tiles of 16 rows, so is the matrix. If
// they all have forms, but not that, it has one that loses nothing visible: int8, or floats where
// some are. Else it is one of floats, without a form.
SourceWeight JoinRows(std::vector<SourceWeight> parts, std::string place);

// Rows [first, first + rows) of a matrix. If it is quantized and `first` is a multiple of 16, so is
// the slice; else it is one of floats.
SourceWeight SliceRows(SourceWeight whole, uint64_t first, uint64_t rows);

}  // namespace glint
