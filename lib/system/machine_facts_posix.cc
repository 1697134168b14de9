#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "lib/system/machine_facts.h"

namespace glint {
namespace {

constexpr char kCpus[] = "/sys/devices/system/cpu/cpu";

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

size_t PhysicalCores() {
  std::set<std::string> cores;
  for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); ++cpu) {
    const std::string siblings =
        FirstLine(kCpus + std::to_string(cpu) + "/topology/thread_siblings_list");
    if (!siblings.empty()) cores.insert(siblings);
  }
  return cores.size();
}

// Bytes by name, the instruction caches left out. Linux writes "32K".
std::vector<std::pair<std::string, uint64_t>> Caches() {
  std::vector<std::pair<std::string, uint64_t>> caches;
  for (int i = 0;; ++i) {
    const std::string folder = std::string(kCpus) + "0/cache/index" + std::to_string(i) + "/";
    const std::string level = FirstLine(folder + "level"), type = FirstLine(folder + "type");
    if (level.empty()) return caches;
    if (type == "Instruction") continue;
    const uint64_t kib = std::strtoull(FirstLine(folder + "size").c_str(), nullptr, 10);
    caches.emplace_back("L" + level + (type == "Data" ? "d" : ""), kib * 1024);
  }
}

// "madvise" of "always [madvise] never".
std::string Chosen(const std::string& line) {
  const size_t begin = line.find('['), end = line.find(']');
  return begin < end && end != std::string::npos ? line.substr(begin + 1, end - begin - 1) : "";
}

}  // namespace

MachineFacts FindMachineFacts() {
  MachineFacts facts;
  facts.cores = PhysicalCores();
  facts.caches = Caches();
  utsname system = {};
  if (uname(&system) == 0) facts.kernel = std::string(system.sysname) + " " + system.release;
  facts.huge_pages = Chosen(FirstLine("/sys/kernel/mm/transparent_hugepage/enabled"));
  return facts;
}

}  // namespace glint
