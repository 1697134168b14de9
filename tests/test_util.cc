#include "tests/test_util.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

namespace glint {
namespace fs = std::filesystem;

std::string ReferenceDir() {
  const char* dir = std::getenv("GLINT_REFERENCE_DIR");
  if (!dir || !fs::is_directory(dir)) return "";
  return dir;
}

std::string SourceDir() {
  const char* dir = std::getenv("GLINT_SOURCE_DIR");
  if (!dir) throw std::runtime_error("GLINT_SOURCE_DIR is not set");
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
    for (const std::string& path : paths) fs::remove_all(path, ignored);
  }
};
}  // namespace

std::string TempDir() {
  static TempDirs dirs;
  std::string path = (fs::temp_directory_path() / "glint-test-XXXXXX").string();
  if (!mkdtemp(path.data())) throw std::runtime_error("mkdtemp failed for " + path);
  dirs.paths.push_back(path);
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream out(path, std::ios::binary);
  out << contents;
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace glint
