#pragma once
#include <string>
#include <vector>

namespace glint {

// The process's group of a controller ("cpu", "memory") and every group around it, as folders: v2's
// and v1's, as far as they are mounted. `root` is put before each absolute path: empty in
// production, a folder with made-up proc/ and sys/ in tests. Folders that do not exist may be among
// them.
std::vector<std::string> CgroupFolders(const std::string& root, const std::string& controller);

std::string FirstLine(const std::string& path);  // empty if there is none

}  // namespace glint
