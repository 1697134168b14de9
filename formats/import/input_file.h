#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/system/file.h"

namespace glint {

// A regular file open for reading at offsets. Directories, pipes and devices are refused: their
// size means nothing and reading them may never end. Throws Error naming the path. Thread-safe.
class InputFile {
 public:
  explicit InputFile(const std::string& path);

  const std::string& path() const { return path_; }
  uint64_t size() const { return opened_.bytes; }  // bytes, when it was opened

  // Fills `out` or throws: a range past the end, a read error, a file that has shrunk.
  void ReadAt(uint64_t offset, void* out, uint64_t size) const;

  // Throws if the file was written to since it was opened.
  void CheckUnchanged() const;

 private:
  std::string path_;
  SystemFile file_;
  FileState opened_;
};

// The whole file; refuses one larger than `limit` bytes.
std::vector<uint8_t> ReadWholeFile(const InputFile& file, uint64_t limit);

// True if something that is not a directory lies at `path`.
bool FileExists(const std::string& path);
bool FolderExists(const std::string& path);

// True if `name` can only mean an entry of the folder at hand: no separators, no "..", no NUL.
bool IsPlainFileName(std::string_view name);

// What a file of the wrong kind is by its first bytes, with a hint what to do ("a git-lfs pointer
// ..."), or "" if that cannot be told.
std::string DescribeKind(const InputFile& file);

}  // namespace glint
