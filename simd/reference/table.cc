// The reference kernels are the definition of each kernel: the plainest code that is right. They
// are what tests/check_kernels.cc compares every target with, and the fallback on a CPU without
// any.
#include "simd/kernel_list.h"

namespace glint::reference {

static constexpr bool kBiasedCodes[kDTypeCount] = {};

GLINT_DEFINE_TABLE("reference", 0, kBiasedCodes)

}  // namespace glint::reference
