#include <algorithm>

#include "lib/system/file.h"

// Paths as texts, the same for all systems but for their separators.
namespace glint {
namespace {

#if defined(_WIN32)
constexpr char kSeparators[] = "/\\:";
#else
constexpr char kSeparators[] = "/";
#endif

}  // namespace

size_t NameBegin(const std::string& path) {
  const size_t at = path.find_last_of(kSeparators);
  return at == std::string::npos ? 0 : at + 1;
}

std::string FolderPart(const std::string& path) {
  const size_t begin = NameBegin(path);
  if (begin <= 1 || path[begin - 1] == ':') return path.substr(0, begin);
  return path.substr(0, begin - 1);
}

std::string NamePart(const std::string& path) {
  std::string full = FullPath(path);
  while (full.size() > 1 && NameBegin(full) == full.size()) full.pop_back();
  return full.substr(NameBegin(full));
}

std::string JoinPath(const std::string& folder, const std::string& name) {
  if (folder.empty() || NameBegin(folder) == folder.size()) return folder + name;
  return folder + "/" + name;
}

}  // namespace glint
