#include "formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <vector>

#include "lib/error.h"
#include "lib/pages.h"

namespace glint {
namespace {

// Linux moves at most 2 GiB less a page in one call.
constexpr uint64_t kMaxRead = uint64_t{1} << 30;
// Read at a time by one of several threads.
constexpr uint64_t kStep = uint64_t{16} << 20;
// Read ahead at a time; a destructor, and whoever maps memory, waits for one such.
constexpr uint64_t kAheadStep = uint64_t{4} << 20;
// Threads that copy a file.
constexpr size_t kCopyThreads = 4;

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
  stop_reader_.store(true);
  if (reader_.joinable()) reader_.join();
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
  memory_ = static_cast<uint8_t*>(memory);
  memory_bytes_ = opened_.bytes;
  return memory_;
}

void MappedFile::ReadAhead() {
  // Of a file that does not fit, the first layers would be gone before the last have come.
  if (!memory_ || memory_bytes_ > MachineMemory() / 4 * 3) return;
  try {
    reader_ = std::thread([this] {
      for (uint64_t at = 0; at < memory_bytes_ && !stop_reader_.load(); at += kAheadStep) {
        ReadInPages(memory_ + at, std::min(kAheadStep, memory_bytes_ - at));
      }
    });
  } catch (const std::exception&) {  // no thread, or no memory for one
    // Pages come when they are touched.
  }
}

// A slow disk and the zeroing of fresh pages are both hidden better by several readers.
void MappedFile::ReadParallel(uint64_t offset, uint8_t* data, uint64_t size) const {
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto read = [&] {
    try {
      for (uint64_t at; (at = next.fetch_add(kStep)) < size;) {
        ReadAt(offset + at, data + at, std::min(kStep, size - at));
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
      next.store(size);
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(kCopyThreads);  // nothing but a refused thread may throw while others run
  try {
    const size_t n = std::min<size_t>(kCopyThreads, std::thread::hardware_concurrency());
    for (size_t i = 1; i < n && i * kStep < size; ++i) threads.emplace_back(read);
  } catch (const std::exception&) {  // no thread, or no memory for one
    // Those that started, and this one, are enough.
  }
  read();
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

const uint8_t* MappedFile::Copy(uint64_t offset) {
  const uint64_t size = opened_.bytes - offset;
  if (size > std::numeric_limits<size_t>::max()) {
    throw Error(path_ + ": too large for this machine's address space");
  }
  memory_ = ReservePages(size);
  if (!memory_) Fail(path_, "no memory for a copy of the file");
  memory_bytes_ = std::max<uint64_t>(size, 1);
  ReadParallel(offset, memory_, size);
  if (!Unchanged()) throw Error(path_ + ": the file changed while it was read");
  // From here on a stray write is a fault, as with a map.
  mprotect(memory_, memory_bytes_, PROT_READ);
  close(fd_);
  fd_ = -1;
  return memory_;
}

}  // namespace glint
