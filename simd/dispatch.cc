#include <cstdlib>
#include <string>

#include "lib/error.h"
#include "simd/cpu.h"
#include "simd/kernels.h"

// GLINT_TARGETS comes from simd/meson.build: GLINT_TARGET(name) for every target of this build,
// best first.
namespace glint {

#define GLINT_TARGET(isa)          \
  namespace isa {                  \
  extern const KernelTable kTable; \
  }
GLINT_TARGETS
GLINT_TARGET(reference)
#undef GLINT_TARGET

#define GLINT_TARGET(isa) &isa::kTable,
const KernelTable* const kKernelTables[] = {GLINT_TARGETS & reference::kTable, nullptr};
#undef GLINT_TARGET

const KernelTable& ChooseKernels() {
  const char* forced = std::getenv("GLINT_ISA");
  const uint32_t have = CpuFeatures();
  std::string available;
  bool known = false;
  for (const KernelTable* const* t = kKernelTables; *t; ++t) {
    const bool named = forced && std::string((*t)->isa) == forced;
    known |= named;
    if ((*t)->requires_ & ~have) continue;
    if (named || !forced) return **t;
    available += (available.empty() ? "" : ", ") + std::string((*t)->isa);
  }
  throw Error("GLINT_ISA: " + Quoted(forced) +
              (known ? " needs instructions that this CPU lacks" : " is no target of this build") +
              "; available here: " + available);
}

}  // namespace glint
