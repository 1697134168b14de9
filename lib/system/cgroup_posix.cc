#include "lib/system/cgroup.h"

#include <fstream>
#include <map>
#include <sstream>

namespace glint {
namespace {

// A cgroup file system as the process sees it: where it is mounted, which folder of the hierarchy
// is its root, and the process's own group in the hierarchy.
struct CgroupMount {
  std::string at, base, group;
};

// The folder of the process's group below the mount's. A container often shows the host's path,
// which does not exist inside; then the mount's own root is the group.
std::string GroupBelow(const CgroupMount& mount) {
  std::string group = mount.group;
  if (mount.base != "/" && (group + "/").rfind(mount.base + "/", 0) == 0) {
    group = group.substr(mount.base.size());
  }
  while (!group.empty() && group.back() == '/') group.pop_back();
  return group;
}

// Mount points of cgroup v2 and of v1's controller, with the process's group in each.
std::vector<CgroupMount> CgroupMounts(const std::string& root, const std::string& controller) {
  const std::string word = "," + controller + ",";
  std::map<std::string, std::string> groups;  // of each hierarchy: "" for v2, the controller for v1
  std::ifstream own(root + "/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == ",,") groups[""] = line.substr(second + 1);
    if (controllers.find(word) != std::string::npos) groups[controller] = line.substr(second + 1);
  }
  std::vector<CgroupMount> mounts;
  std::ifstream table(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    // ID PARENT DEVICE BASE AT OPTIONS... - TYPE SOURCE SUPER_OPTIONS
    std::istringstream fields(line);
    std::string skip, base, at, type, options;
    fields >> skip >> skip >> skip >> base >> at;
    while (fields >> skip && skip != "-") {
    }
    fields >> type >> skip >> options;
    const bool is_v1 = type == "cgroup" && ("," + options + ",").find(word) != std::string::npos;
    if (type != "cgroup2" && !is_v1) continue;
    mounts.push_back({at, base, groups[is_v1 ? controller : ""]});
  }
  // Without the table: the usual places.
  if (mounts.empty()) {
    mounts = {{"/sys/fs/cgroup", "/", groups[""]},
              {"/sys/fs/cgroup/" + controller, "/", groups[controller]}};
  }
  return mounts;
}

}  // namespace

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<std::string> CgroupFolders(const std::string& root, const std::string& controller) {
  std::vector<std::string> folders;
  for (const CgroupMount& mount : CgroupMounts(root, controller)) {
    for (std::string group = GroupBelow(mount);; group.erase(group.find_last_of('/'))) {
      folders.push_back(root + mount.at + group);
      if (group.find('/') == std::string::npos) break;
    }
  }
  return folders;
}

}  // namespace glint
