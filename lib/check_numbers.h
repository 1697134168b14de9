#pragma once
#include <functional>

namespace glint {

class GlintFile;

// Looks at every number of a file's tensors, matrices decoded as the kernels decode them. Throws Error
// naming tensor and place of the first that is inf or nan. Loading does not do this: it would read the
// whole file. A session reports what such numbers lead to (Status::kNonFinite). `progress` (may be
// empty) gets 0..1.
void CheckNumbers(const GlintFile& file, const std::function<void(double)>& progress = {});

}  // namespace glint
