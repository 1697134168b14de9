#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Files, folders and paths as the operating system has them: the one place that calls it for them. There is
// a file_posix.cc and a file_windows.cc. Names are UTF-8 everywhere; on Windows '\' separates too, and a
// name may be of any length. Nothing here throws but std::bad_alloc: what fails says so, and
// LastSystemError then tells why.
namespace glint {

enum class FileKind { kNone, kRegular, kFolder, kOther };

// What the system tells of a file.
struct FileState {
  FileKind kind = FileKind::kNone;
  uint64_t bytes = 0, device = 0, inode = 0;
  int64_t modified = 0, changed = 0;  // ns since 1970: of the contents; of anything
  // The same file, and nothing was written to it. `changed` may differ: it tells of new names, too.
  bool SameContents(const FileState& other) const {
    return kind == other.kind && bytes == other.bytes && device == other.device &&
           inode == other.inode && modified == other.modified;
  }
};

// The reason of the failure just now in this thread, as a short English text: "No such file or directory".
std::string LastSystemError();

// A file that is open. Not copied; moved; closed by its destructor. Reading and writing at offsets may be
// done from several threads.
class SystemFile {
 public:
  SystemFile() = default;
  ~SystemFile() { Close(); }
  SystemFile(SystemFile&& other) noexcept;
  SystemFile(const SystemFile&) = delete;

  bool is_open() const { return handle_ != kNone; }
  // Does not wait for the other end of a pipe. Others may write, rename and delete meanwhile.
  bool OpenToRead(const std::string& path);
  // The file behind a descriptor of the C library, which stays the caller's.
  bool OpenDescriptor(int descriptor);
  bool Close();  // true, too, if it was closed

  bool State(FileState* state) const;
  // Bytes moved, at least one; 0 at the end (for a writer: no space). Below 0 on failure.
  int64_t ReadAt(uint64_t offset, void* data, uint64_t size) const;
  int64_t WriteAt(uint64_t offset, const void* data, uint64_t size);
  // The whole file of `bytes` bytes as read-only private memory; null on failure. UnmapFile ends it; the
  // file may be closed before.
  const uint8_t* Map(uint64_t bytes) const;

  // Writers. A new temporary file, which no other process takes for an abandoned one while it is open.
  enum class Created { kDone, kExists, kTaken, kFailed };  // kTaken: by another process, at once
  Created CreateTemporary(const std::string& path);
  // The file gets that size, its space reserved where the file system can. `available` gets the
  // bytes that the disk has free, UINT64_MAX if unknown.
  bool AvailableSpace(uint64_t* available) const;
  bool Reserve(uint64_t bytes);
  bool Resize(uint64_t bytes);
  bool Sync();
  // The open file gets a new name in the same folder, in one step: all of it is there or nothing.
  // Without `replace` a file that has the name already is kept (kExists).
  enum class Renamed { kDone, kExists, kFailed };
  Renamed Rename(const std::string& from, const std::string& to, bool replace);
  // Removes the open file from its folder and closes it.
  void Remove(const std::string& path);

 private:
  static constexpr intptr_t kNone = -1;
  intptr_t handle_ = kNone;  // a descriptor, or Windows' HANDLE
};

void UnmapFile(const uint8_t* data, uint64_t bytes);

// Of what lies at `path`, links followed; kNone if there is nothing, or it cannot be seen.
FileState StateOf(const std::string& path);
inline bool IsFolder(const std::string& path) { return StateOf(path).kind == FileKind::kFolder; }
inline bool IsRegularFile(const std::string& path) {
  return StateOf(path).kind == FileKind::kRegular;
}

bool RemoveFile(const std::string& path);
// The names in a folder, without "." and "..", in the system's order.
bool ListFolder(const std::string& folder, std::vector<std::string>* names);
bool MakeFolders(const std::string& folder);  // and those above it; true if it is there already
// Makes what was renamed in `folder` survive a loss of power, where the system can do so for a folder.
bool SyncFolder(const std::string& folder);
// Whether the process `pid` that made the temporary file `path` (CreateTemporary) is gone.
bool IsAbandoned(const std::string& path, uint32_t pid);

uint32_t ProcessId();
std::string Environment(const char* name);  // the variable's value, "" if it has none
std::string TemporaryFolder();
// Where a user's programs keep what may be deleted at any time; "" if the system names none, and then
// *lacking says which variables are not set ("neither A nor B").
std::string UserCacheFolder(std::string* lacking);

// Paths as texts. Nothing is looked up but the current folder.
// Where the last part of a path begins: behind the last separator.
size_t NameBegin(const std::string& path);
std::string FullPath(const std::string& path);    // absolute, without "." and ".." and double separators
std::string FolderPart(const std::string& path);  // "" if there is none; "/" stays
std::string NamePart(const std::string& path);    // the name also of "a/b/" and of "."
std::string JoinPath(const std::string& folder, const std::string& name);

}  // namespace glint
