#include "formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

#include "lib/error.h"

namespace glint {
namespace {

// Linux moves at most 2 GiB less a page in one call.
constexpr uint64_t kMaxRead = uint64_t{1} << 30;

[[noreturn]] void Fail(const std::string& path, const char* what) {
  throw Error(path + ": " + what + ": " + std::generic_category().message(errno));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) Fail(path, "cannot open");
  struct stat status;
  const bool is_known = fstat(fd_, &status) == 0;
  if (!is_known || !S_ISREG(status.st_mode)) {
    close(fd_);
    if (!is_known) Fail(path, "cannot open");
    throw Error(path + (S_ISDIR(status.st_mode) ? ": is a folder" : ": is not a regular file") +
                ", expected a .glint file");
  }
  ReadState(&opened_);
}

MappedFile::~MappedFile() {
  if (memory_) munmap(memory_, memory_bytes_);
  if (fd_ >= 0) close(fd_);
}

bool MappedFile::ReadState(State* state) const {
  struct stat status;
  if (fstat(fd_, &status) != 0) return false;
  state->bytes = static_cast<uint64_t>(status.st_size);
  state->device = static_cast<uint64_t>(status.st_dev);
  state->inode = static_cast<uint64_t>(status.st_ino);
#ifdef __APPLE__
  const struct timespec changed = status.st_mtimespec;
#else
  const struct timespec changed = status.st_mtim;
#endif
  state->seconds = changed.tv_sec;
  state->nanoseconds = changed.tv_nsec;
  return true;
}

bool MappedFile::Unchanged() const {
  State now;
  return ReadState(&now) && now == opened_;
}

void MappedFile::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  char* out = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = pread(fd_, out, std::min(size, kMaxRead), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(path_, "cannot read");
    if (n == 0) {
      throw Error(path_ + ": the file ended at byte " + std::to_string(offset) +
                  " while it was read, expected " + std::to_string(opened_.bytes) + " bytes");
    }
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
}

const uint8_t* MappedFile::Map() {
  if (opened_.bytes > std::numeric_limits<size_t>::max()) {
    throw Error(path_ + ": too large for this machine's address space");
  }
  void* memory = mmap(nullptr, opened_.bytes, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (memory == MAP_FAILED) Fail(path_, "cannot map into memory");
  memory_ = memory;
  memory_bytes_ = opened_.bytes;
  return static_cast<const uint8_t*>(memory_);
}

const uint8_t* MappedFile::Copy(uint64_t offset) {
  const uint64_t size = opened_.bytes - offset;
  if (size > std::numeric_limits<size_t>::max()) {
    throw Error(path_ + ": too large for this machine's address space");
  }
  void* memory = mmap(nullptr, std::max<uint64_t>(size, 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Fail(path_, "no memory for a copy of the file");
  memory_ = memory;
  memory_bytes_ = std::max<uint64_t>(size, 1);
  ReadAt(offset, memory_, size);
  if (!Unchanged()) throw Error(path_ + ": the file changed while it was read");
  // From here on a stray write is a fault, as with a map.
  mprotect(memory_, memory_bytes_, PROT_READ);
  close(fd_);
  fd_ = -1;
  return static_cast<const uint8_t*>(memory_);
}

}  // namespace glint
