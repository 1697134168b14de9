#pragma once
#include <nlohmann/json.hpp>

namespace glint {

// What figures of speed depend on beside the program, as results are recorded (bench/README.md):
//   cpu, cores (physical), cpus (hyper-threads that this process may use), caches {"L1d": bytes,
//   ...} of the first, memory_bytes, kernel, huge_pages ("madvise"), compiler, date (UTC).
// What the system does not tell is left out.
nlohmann::ordered_json MachineInfo();

}  // namespace glint
