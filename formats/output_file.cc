#include "formats/output_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>
#include <vector>

#include "lib/error.h"

namespace glint {
namespace {

constexpr uint64_t kMaxTransfer = uint64_t{1} << 30;  // Linux moves a little under 2 GiB per call
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 62;

[[noreturn]] void Fail(const std::string& path, const char* what) {
  throw Error(path + ": " + what + ": " + std::generic_category().message(errno));
}

std::string Mebibytes(uint64_t bytes) {
  return std::to_string((bytes >> 20) + 1) + " MiB";
}

void CheckFreeSpace(int fd, uint64_t needed, const std::string& path) {
  struct statvfs status;
  if (fstatvfs(fd, &status) != 0 || status.f_frsize == 0) return;  // unknown: writing will tell
  const uint64_t unit = status.f_frsize;
  if (needed / unit < status.f_bavail) return;
  throw Error(path + ": not enough space: needs " + Mebibytes(needed) + ", " +
              Mebibytes(unit * status.f_bavail) + " available");
}

// Whether the process that made this temporary file is gone. A living writer holds its lock; that
// also tells when the process id has been given to somebody else, as it often is in containers.
// Where the file system has no locks, the process id decides.
bool IsAbandoned(const std::string& path, int pid) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  bool is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (!is_free && errno != EWOULDBLOCK) is_free = kill(pid, 0) != 0 && errno == ESRCH;
  close(fd);
  return is_free;
}

// The process id at the end of a temporary file's name; 0 if `name` is none of `prefix`.
int OwnerOf(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return 0;
  const std::string_view digits = name.substr(prefix.size());
  if (digits.empty() || digits.size() > 9) return 0;
  int pid = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    pid = pid * 10 + (c - '0');
  }
  return pid;
}

// Makes a rename or a new file in `folder` survive a loss of power. Some file systems cannot sync a
// folder and say EINVAL; there is nothing more to do there.
void SyncFolder(const std::string& folder, const std::string& path) {
  const int fd = open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (fd < 0) Fail(path, "cannot open its folder");
  const bool is_synced = fsync(fd) == 0 || errno == EINVAL;
  const int error = errno;
  close(fd);
  errno = error;
  if (!is_synced) Fail(path, "cannot sync its folder");
}

}  // namespace

void CheckOutputPath(const std::string& path, bool overwrite) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return;
  if (S_ISDIR(status.st_mode)) throw Error(path + ": is a folder, expected a file name");
  if (!S_ISREG(status.st_mode)) throw Error(path + ": exists and is not a regular file");
  if (!overwrite) throw Error(path + ": exists already");
}

OutputFile::OutputFile(const std::string& path, bool overwrite)
    : path_(path), overwrite_(overwrite) {
  const size_t slash = path.rfind('/');
  folder_ = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  name_ = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name_.empty() || name_ == "." || name_ == "..") throw Error(path + ": not a file name");
  CheckOutputPath(path, overwrite);
  temp_path_ = (slash == std::string::npos ? "" : folder_) + "." + name_ + ".tmp-" +
               std::to_string(getpid());
  RemoveStale();
  Create();
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  // Removed before it is closed: the lock ends with the close.
  unlink(temp_path_.c_str());
  close(fd_);
}

void OutputFile::Create() {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    fd_ = open(temp_path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0 && errno == EEXIST) throw Error(path_ + ": is being written by " + temp_path_);
    if (fd_ < 0) Fail(path_, "cannot create a file beside it");
    flock(fd_, LOCK_EX | LOCK_NB);
    // Another process may have taken the new file for a stale one before it was locked.
    struct stat status;
    if (fstat(fd_, &status) == 0 && status.st_nlink > 0) return;
    close(fd_);
    fd_ = -1;
  }
  throw Error(path_ + ": cannot keep a temporary file beside it: " + temp_path_);
}

void OutputFile::RemoveStale() const {
  DIR* folder = opendir(folder_.c_str());
  if (!folder) Fail(path_, "cannot open its folder");
  const std::string prefix = "." + name_ + ".tmp-";
  std::vector<std::string> stale;
  while (const struct dirent* entry = readdir(folder)) {
    const int pid = OwnerOf(entry->d_name, prefix);
    const std::string path = folder_ + "/" + entry->d_name;
    if (pid != 0 && IsAbandoned(path, pid)) stale.push_back(path);
  }
  closedir(folder);
  for (const std::string& path : stale) unlink(path.c_str());
}

void OutputFile::Resize(uint64_t bytes) {
  if (bytes > kMaxFileBytes)
    throw Error(path_ + ": too large: " + std::to_string(bytes) + " bytes");
  CheckFreeSpace(fd_, bytes, path_);
#ifdef __linux__
  // Reserved now, so that a disk that fills up meanwhile cannot break the writing half way.
  int result;
  do {
    result = bytes == 0 ? 0 : fallocate(fd_, 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS) Fail(path_, "cannot reserve space");
#endif
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) Fail(path_, "cannot resize");
  bytes_ = bytes;
  has_pages_.resize((bytes + kHugePage - 1) / kHugePage);
}

// A file system with large folios gives the cache a page of the size of the first write to it. A file
// that was written piece by piece lies in small pages, and is read 10 to 20% slower, for as long as it
// stays in the cache; so each huge page begins with one write of zeros. They wait in memory for the
// data, the disk does not see them.
void OutputFile::MakePages(uint64_t offset, uint64_t size) {
  const std::lock_guard lock(mutex_);
  const uint64_t end_page = std::min<uint64_t>((offset + size - 1) / kHugePage + 1, has_pages_.size());
  for (uint64_t page = offset / kHugePage; size != 0 && page < end_page; ++page) {
    if (has_pages_[page]) continue;
    has_pages_[page] = true;
    const uint64_t begin = page * kHugePage, end = std::min(begin + kHugePage, bytes_);
    if (offset <= begin && end <= offset + size) continue;  // the data does it
    zeros_.resize(kHugePage);
    WriteAll(begin, zeros_.data(), end - begin);
  }
}

void OutputFile::WriteAt(uint64_t offset, const void* data, uint64_t size) {
  MakePages(offset, size);
  WriteAll(offset, data, size);
}

void OutputFile::WriteAll(uint64_t offset, const void* data, uint64_t size) {
  const char* in = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = pwrite(fd_, in, std::min(size, kMaxTransfer), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(path_, "cannot write");
    if (n == 0) throw Error(path_ + ": cannot write: the disk takes no more");
    in += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
}

void OutputFile::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  char* out = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = pread(fd_, out, std::min(size, kMaxTransfer), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(path_, "cannot read back");
    if (n == 0) throw Error(path_ + ": its temporary file was cut by somebody else");
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
}

void OutputFile::Commit() {
  if (fsync(fd_) != 0) Fail(path_, "cannot sync");
  if (overwrite_) {
    if (rename(temp_path_.c_str(), path_.c_str()) != 0) Fail(path_, "cannot rename");
  } else if (link(temp_path_.c_str(), path_.c_str()) == 0) {
    // link, unlike rename, never replaces a file that appeared since the constructor looked.
    unlink(temp_path_.c_str());
  } else {
    if (errno == EEXIST) throw Error(path_ + ": exists already");
    // A file system without hard links.
    struct stat status;
    if (stat(path_.c_str(), &status) == 0) throw Error(path_ + ": exists already");
    if (rename(temp_path_.c_str(), path_.c_str()) != 0) Fail(path_, "cannot rename");
  }
  const int fd = fd_;
  fd_ = -1;
  // The data is on the disk, so a failing close no longer puts it at risk, but it is not hidden.
  if (close(fd) != 0) Fail(path_, "cannot close");
  SyncFolder(folder_, path_);
}

bool SameFile(const std::string& a, const std::string& b) {
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace glint
