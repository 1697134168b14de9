#include "tests/test_util.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "lib/system/file.h"
#include "tests/system.h"

namespace glint {
namespace fs = std::filesystem;

namespace {
// Windows' own names are not bytes: a plain string would be taken for the system's code page.
fs::path Path(const std::string& path) { return std::u8string(path.begin(), path.end()); }
}  // namespace

std::string ReferenceDir() {
  const std::string dir = Environment("GLINT_REFERENCE_DIR");
  return IsFolder(dir) ? dir : "";
}

std::string SourceDir() {
  const std::string dir = Environment("GLINT_SOURCE_DIR");
  if (dir.empty()) throw std::runtime_error("GLINT_SOURCE_DIR is not set");
  return dir;
}

bool SkipWithoutReference(const char* what) {
  if (!ReferenceDir().empty()) return false;
  std::printf("skipped: %s (no reference_dir)\n", what);
  return true;
}

namespace {
struct TempDirs {
  std::vector<std::string> paths;
  ~TempDirs() {
    std::error_code ignored;
    for (const std::string& path : paths) fs::remove_all(Path(path), ignored);
  }
};
}  // namespace

std::string TempDir() {
  static TempDirs dirs;
  const std::string path = test::MakeFolder();
  dirs.paths.push_back(path);
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(Path(path), std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream out(Path(path), std::ios::binary);
  out << contents;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace glint
