#include "lib/machine_info.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "simd/cpu_info.h"

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
nlohmann::ordered_json Caches() {
  nlohmann::ordered_json caches = nlohmann::ordered_json::object();
  for (int i = 0;; ++i) {
    const std::string folder = std::string(kCpus) + "0/cache/index" + std::to_string(i) + "/";
    const std::string level = FirstLine(folder + "level"), type = FirstLine(folder + "type");
    if (level.empty()) return caches;
    if (type == "Instruction") continue;
    const uint64_t kib = std::strtoull(FirstLine(folder + "size").c_str(), nullptr, 10);
    caches["L" + level + (type == "Data" ? "d" : "")] = kib * 1024;
  }
}

// "madvise" of "always [madvise] never".
std::string Chosen(const std::string& line) {
  const size_t begin = line.find('['), end = line.find(']');
  return begin < end && end != std::string::npos ? line.substr(begin + 1, end - begin - 1) : "";
}

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

constexpr const char* kCompiler =
#if defined(__clang__)
    __VERSION__;  // says its name
#else
    "gcc " __VERSION__;
#endif

}  // namespace

nlohmann::ordered_json MachineInfo() {
  nlohmann::ordered_json info = {{"cpu", CpuModelName()}};
  if (const size_t cores = PhysicalCores(); cores != 0) info["cores"] = cores;
  info["cpus"] = std::thread::hardware_concurrency();
  if (nlohmann::ordered_json caches = Caches(); !caches.empty()) info["caches"] = caches;
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) {
    info["memory_bytes"] = static_cast<uint64_t>(pages) * static_cast<uint64_t>(page);
  }
  utsname system = {};
  if (uname(&system) == 0) {
    info["kernel"] = std::string(system.sysname) + " " + system.release;
  }
  const std::string huge_pages = Chosen(FirstLine("/sys/kernel/mm/transparent_hugepage/enabled"));
  if (!huge_pages.empty()) info["huge_pages"] = huge_pages;
  info["compiler"] = kCompiler;
  info["date"] = UtcNow();
  return info;
}

}  // namespace glint
