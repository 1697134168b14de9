#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "lib/system/file.h"

namespace glint {

// A regular file opened for reading, and its bytes in memory if asked for. Throws Error.
class MappedFile {
 public:
  // Opens `path` (UTF-8). Refuses folders, pipes and devices.
  explicit MappedFile(const std::string& path);
  // The file behind a descriptor that is open for reading, which stays the caller's: the object has
  // its own. `name` stands for the path in messages.
  MappedFile(int descriptor, const std::string& name);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  uint64_t bytes() const { return opened_.bytes; }  // when it was opened
  // Reads exactly `size` bytes at `offset`.
  void ReadAt(uint64_t offset, void* data, uint64_t size) const;
  // Maps the whole file, read-only and private. The pages stay shared with other processes.
  const uint8_t* Map();
  // Begins to read the map into memory in the background, from its start; at once where the pages are
  // there already. To be called once, after Map. A wish: does nothing if the file would fill the
  // machine's memory or the system refuses a thread.
  void ReadAhead();
  // Reads the file from `offset` to its end into private memory, aligned to a page, with several
  // threads, and closes it. `progress` (may be empty) gets 0..1 in the calling thread, each MiB or so; what
  // it throws ends the reading.
  const uint8_t* Copy(uint64_t offset, const std::function<void(double)>& progress = {});
  // False if the opened file is no longer what it was: size, time of change, identity.
  bool Unchanged() const;

 private:
  void CheckOpened();
  void ReadParallel(uint64_t offset, uint8_t* data, uint64_t size,
                    const std::function<void(double)>& progress) const;

  std::string path_;
  SystemFile file_;
  FileState opened_;
  const uint8_t* memory_ = nullptr;  // mapped, from the file or anonymous
  bool is_copy_ = false;
  uint64_t memory_bytes_ = 0;
  std::thread reader_;  // of ReadAhead
  std::atomic<bool> stop_reader_{false};
};

}  // namespace glint
