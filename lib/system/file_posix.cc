#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "lib/system/file.h"

namespace glint {
namespace {

// Linux moves at most 2 GiB less a page in one call; other systems refuse more than 2^31 - 1.
constexpr uint64_t kMaxTransfer = uint64_t{1} << 30;

#if defined(__APPLE__)
timespec Modified(const struct stat& status) { return status.st_mtimespec; }
timespec Changed(const struct stat& status) { return status.st_ctimespec; }
#else
timespec Modified(const struct stat& status) { return status.st_mtim; }
timespec Changed(const struct stat& status) { return status.st_ctim; }
#endif

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + static_cast<int64_t>(time.tv_nsec);
}

FileState StateFrom(const struct stat& status) {
  FileState state;
  state.kind = S_ISREG(status.st_mode)   ? FileKind::kRegular
               : S_ISDIR(status.st_mode) ? FileKind::kFolder
                                         : FileKind::kOther;
  state.bytes = static_cast<uint64_t>(status.st_size);
  state.device = static_cast<uint64_t>(status.st_dev);
  state.inode = static_cast<uint64_t>(status.st_ino);
  state.modified = Nanoseconds(Modified(status));
  state.changed = Nanoseconds(Changed(status));
  return state;
}

}  // namespace

std::string LastSystemError() { return std::generic_category().message(errno); }

SystemFile::SystemFile(SystemFile&& other) noexcept
    : handle_(std::exchange(other.handle_, kNone)) {}

bool SystemFile::OpenToRead(const std::string& path) {
  Close();
  // O_NONBLOCK: opening a pipe must not wait for its writer. It changes nothing for regular files.
  handle_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  return is_open();
}

bool SystemFile::OpenDescriptor(int descriptor) {
  Close();
  handle_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return is_open();
}

bool SystemFile::Close() {
  if (!is_open()) return true;
  return close(static_cast<int>(std::exchange(handle_, kNone))) == 0;
}

bool SystemFile::State(FileState* state) const {
  struct stat status;
  if (fstat(static_cast<int>(handle_), &status) != 0) return false;
  *state = StateFrom(status);
  return true;
}

int64_t SystemFile::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  for (;;) {
    const ssize_t n = pread(static_cast<int>(handle_), data,
                            static_cast<size_t>(std::min(size, kMaxTransfer)),
                            static_cast<off_t>(offset));
    if (n >= 0 || errno != EINTR) return n;
  }
}

int64_t SystemFile::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  for (;;) {
    const ssize_t n = pwrite(static_cast<int>(handle_), data,
                             static_cast<size_t>(std::min(size, kMaxTransfer)),
                             static_cast<off_t>(offset));
    if (n >= 0 || errno != EINTR) return n;
  }
}

const uint8_t* SystemFile::Map(uint64_t bytes) const {
  void* const memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_PRIVATE,
                            static_cast<int>(handle_), 0);
  return memory == MAP_FAILED ? nullptr : static_cast<const uint8_t*>(memory);
}

void UnmapFile(const uint8_t* data, uint64_t bytes) {
  if (data) munmap(const_cast<uint8_t*>(data), static_cast<size_t>(bytes));
}

SystemFile::Created SystemFile::CreateTemporary(const std::string& path) {
  Close();
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  handle_ = open(path.c_str(), flags, 0666);
  if (!is_open()) return errno == EEXIST ? Created::kExists : Created::kFailed;
  flock(static_cast<int>(handle_), LOCK_EX | LOCK_NB);
  // Another process may have taken the new file for an abandoned one before it was locked.
  struct stat status;
  if (fstat(static_cast<int>(handle_), &status) == 0 && status.st_nlink > 0) return Created::kDone;
  Close();
  return Created::kTaken;
}

bool SystemFile::AvailableSpace(uint64_t* available) const {
  struct statvfs status;
  if (fstatvfs(static_cast<int>(handle_), &status) != 0 || status.f_frsize == 0) return false;
  const uint64_t unit = status.f_frsize, blocks = status.f_bavail;
  *available = blocks > UINT64_MAX / unit ? UINT64_MAX : unit * blocks;
  return true;
}

bool SystemFile::Reserve([[maybe_unused]] uint64_t bytes) {
#if defined(__linux__)
  int result;
  do {
    result = bytes == 0 ? 0
                        : fallocate(static_cast<int>(handle_), 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  return result == 0 || errno == EOPNOTSUPP || errno == ENOSYS;
#elif defined(__APPLE__)
  fstore_t store = {};
  store.fst_flags = F_ALLOCATEALL;
  store.fst_posmode = F_PEOFPOSMODE;
  store.fst_length = static_cast<off_t>(bytes);
  if (bytes == 0 || fcntl(static_cast<int>(handle_), F_PREALLOCATE, &store) != -1) return true;
  return errno != ENOSPC;
#else
  return true;
#endif
}

bool SystemFile::Resize(uint64_t bytes) {
  return ftruncate(static_cast<int>(handle_), static_cast<off_t>(bytes)) == 0;
}

bool SystemFile::Sync() {
#if defined(__APPLE__)
  // fsync leaves the bytes in the disk's own memory; not every file system can do more.
  if (fcntl(static_cast<int>(handle_), F_FULLFSYNC) == 0) return true;
#endif
  return fsync(static_cast<int>(handle_)) == 0;
}

SystemFile::Renamed SystemFile::Rename(const std::string& from, const std::string& to,
                                       bool replace) {
  const auto rename_it = [&] {
    return rename(from.c_str(), to.c_str()) == 0 ? Renamed::kDone : Renamed::kFailed;
  };
  if (replace) return rename_it();
  // link, unlike rename, never replaces a file that appeared meanwhile.
  if (link(from.c_str(), to.c_str()) == 0) {
    unlink(from.c_str());
    return Renamed::kDone;
  }
  if (errno == EEXIST) return Renamed::kExists;
  // A file system without hard links.
  struct stat status;
  return stat(to.c_str(), &status) == 0 ? Renamed::kExists : rename_it();
}

void SystemFile::Remove(const std::string& path) {
  // Removed before it is closed: the lock ends with the close.
  unlink(path.c_str());
  Close();
}

FileState StateOf(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 ? StateFrom(status) : FileState();
}

bool RemoveFile(const std::string& path) { return unlink(path.c_str()) == 0; }

bool ListFolder(const std::string& folder, std::vector<std::string>* names) {
  DIR* const handle = opendir(folder.c_str());
  if (!handle) return false;
  names->clear();
  errno = 0;
  while (const struct dirent* entry = readdir(handle)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names->push_back(name);
    errno = 0;
  }
  const int error = errno;
  closedir(handle);
  errno = error;
  return error == 0;
}

bool MakeFolders(const std::string& folder) {
  if (mkdir(folder.c_str(), 0777) == 0 || IsFolder(folder)) return true;
  const std::string above = FolderPart(folder);
  if (errno != ENOENT || above.empty() || above == folder || !MakeFolders(above)) return false;
  return mkdir(folder.c_str(), 0777) == 0 || IsFolder(folder);
}

bool SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (fd < 0) return false;
  // Some file systems cannot sync a folder and say EINVAL; there is nothing more to do there.
  const bool is_synced = fsync(fd) == 0 || errno == EINVAL;
  const int error = errno;
  close(fd);
  errno = error;
  return is_synced;
}

// A living writer holds its lock; that also tells when the process id has been given to somebody else,
// as it often is in containers. Where the file system has no locks, the process id decides.
bool IsAbandoned(const std::string& path, uint32_t pid) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  bool is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (!is_free && errno != EWOULDBLOCK) {
    is_free = kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
  }
  close(fd);
  return is_free;
}

uint32_t ProcessId() { return static_cast<uint32_t>(getpid()); }

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

std::string TemporaryFolder() {
  const std::string folder = Environment("TMPDIR");
  return folder.empty() ? "/tmp" : folder;
}

std::string UserCacheFolder(std::string* lacking) {
  // By the XDG base directory specification a relative path counts as none.
  const std::string base = Environment("XDG_CACHE_HOME");
  if (base.starts_with('/')) return base;
  const std::string home = Environment("HOME");
  *lacking = "neither XDG_CACHE_HOME nor HOME";
  return home.empty() ? "" : home + "/.cache";
}

std::string FullPath(const std::string& path) {
  std::string whole = path;
  if (!path.starts_with('/')) {
    char* const current = getcwd(nullptr, 0);
    if (current) whole = std::string(current) + "/" + path;
    std::free(current);
  }
  std::string full;
  for (size_t begin = 0; begin < whole.size();) {
    const size_t end = std::min(whole.find('/', begin), whole.size());
    const std::string part = whole.substr(begin, end - begin);
    begin = end + 1;
    if (part == "..") {
      full.erase(std::min(full.rfind('/'), full.size()));
    } else if (!part.empty() && part != ".") {
      full += "/" + part;
    }
  }
  return full.empty() ? "/" : full;
}

}  // namespace glint
