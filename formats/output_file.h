#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "formats/output.h"
#include "lib/system/file.h"

namespace glint {

// Throws Error if OutputFile would refuse the path for what is there now.
void CheckOutputPath(const std::string& path, bool overwrite);

// A file that appears under its name complete or not at all: written as `.NAME.tmp-PID` beside it,
// then fsync, rename, fsync of the folder. Throws Error naming the path.
class OutputFile : public Output {
 public:
  // Refuses an existing `path` unless `overwrite`, and always one that is no regular file. Removes
  // stale temporary files of the same name whose process is gone.
  OutputFile(const std::string& path, bool overwrite);
  ~OutputFile() override;  // without Commit: removes the temporary file
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void Resize(uint64_t bytes) override;  // reserves where the file system can, else zeros
  void WriteAt(uint64_t offset, const void* data, uint64_t size) override;
  void ReadAt(uint64_t offset, void* data, uint64_t size) const override;
  // Without `overwrite`, fails if somebody else made `path` in the meantime.
  void Commit() override;

 private:
  void Create();
  void RemoveStale() const;
  void MakePages(uint64_t offset, uint64_t size);
  void WriteAll(uint64_t offset, const void* data, uint64_t size);

  std::string path_, folder_, name_, temp_path_;
  SystemFile file_;
  bool overwrite_;
  uint64_t bytes_ = 0;
  std::mutex mutex_;              // of what follows
  std::vector<bool> has_pages_;   // by huge page
  std::vector<uint8_t> zeros_;    // one huge page
};

// Whether both paths lead to the same existing file, by whatever names: an input that an output
// would replace while it is read.
bool SameFile(const std::string& a, const std::string& b);

}  // namespace glint
