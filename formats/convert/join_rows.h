#pragma once
#include <vector>

#include "formats/convert/source_model.h"

namespace glint {

// One matrix of the rows of all parts (at least one), in their order. Name, role and number of columns
// are the first part's; its `place` names all of them. If all parts are quantized to the same form and
// begin at whole tiles of 16 rows, so is the matrix; else it is one of floats.
SourceWeight JoinRows(std::vector<SourceWeight> parts);

}  // namespace glint
