#include "lib/system/free_memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>

#include "lib/system/cgroup.h"

namespace glint {
namespace {

constexpr uint64_t kUnknown = UINT64_MAX;

// The number that a file consists of; `otherwise` if it is not there or is a word such as "max".
uint64_t Number(const std::string& path, uint64_t otherwise) {
  const std::string text = FirstLine(path);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : otherwise;
}

// Lines of a name and a number: "MemAvailable:   22809664 kB", "active_file 4096".
std::map<std::string, uint64_t> Table(const std::string& path) {
  std::map<std::string, uint64_t> table;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t number = 0;
    if (words >> name >> number) table[name] = number;
  }
  return table;
}

uint64_t Least(uint64_t a, uint64_t b) {
  return std::min(a, b);
}
uint64_t Minus(uint64_t a, uint64_t b) {
  return a > b ? a - b : 0;
}
uint64_t Plus(uint64_t a, uint64_t b) {
  return a > kUnknown - b ? kUnknown : a + b;
}

// What a group's own files leave it: v2's, or else v1's. `swap`: what the machine has of it.
uint64_t RoomOfGroup(const std::string& folder, uint64_t swap) {
  const bool is_v2 = !FirstLine(folder + "/memory.max").empty();
  const auto file = [&](const char* v2, const char* v1) { return folder + (is_v2 ? v2 : v1); };
  const uint64_t limit = Number(file("/memory.max", "/memory.limit_in_bytes"), kUnknown);
  const uint64_t used = Number(file("/memory.current", "/memory.usage_in_bytes"), 0);
  auto stat = Table(folder + "/memory.stat");
  const uint64_t files = is_v2 ? stat["active_file"] + stat["inactive_file"]
                               : stat["total_active_file"] + stat["total_inactive_file"];
  const uint64_t kept = Minus(used, files);
  const uint64_t room = limit == kUnknown ? kUnknown : Minus(limit, kept);
  if (is_v2) {
    const uint64_t max = Number(folder + "/memory.swap.max", kUnknown);
    const uint64_t now = Number(folder + "/memory.swap.current", 0);
    return Plus(room, Least(swap, Minus(max, now)));
  }
  // v1 limits the sum of both.
  const uint64_t both = Number(folder + "/memory.memsw.limit_in_bytes", kUnknown);
  const uint64_t both_used = Number(folder + "/memory.memsw.usage_in_bytes", 0);
  return Least(Plus(room, swap),
               both == kUnknown ? kUnknown : Minus(both, Minus(both_used, files)));
}

}  // namespace

uint64_t FreeMemory(const std::string& root) {
  auto machine = Table(root + "/proc/meminfo");  // KiB
  if (machine.count("MemFree:") == 0) return kUnknown;
  const uint64_t available =
      machine.count("MemAvailable:") != 0
          ? machine["MemAvailable:"]
          : machine["MemFree:"] + machine["Cached:"] + machine["Buffers:"];  // before Linux 3.14
  const uint64_t swap = machine["SwapFree:"] * 1024;
  uint64_t room = available * 1024 + swap;
  for (const std::string& folder : CgroupFolders(root, "memory")) {
    room = Least(room, RoomOfGroup(folder, swap));
  }
  return room;
}

}  // namespace glint
