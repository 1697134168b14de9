#include "formats/mapped_file.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <mutex>
#include <system_error>
#include <vector>

#include "lib/error.h"
#include "lib/system/pages.h"

namespace glint {
namespace {

// Read at a time by one of several threads.
constexpr uint64_t kStep = uint64_t{16} << 20;
// Read between two looks at whether to stop: a few ms, even of a slow disk's tens.
constexpr uint64_t kStopStep = uint64_t{1} << 20;
// Read ahead at a time; a destructor, and whoever maps memory, waits for one such.
constexpr uint64_t kAheadStep = uint64_t{4} << 20;
// Between two calls of `progress` while others read.
constexpr std::chrono::milliseconds kTellInterval{5};
// Threads that copy a file.
constexpr size_t kCopyThreads = 4;

[[noreturn]] void Fail(const std::string& path, const char* what) {
  throw Error(path + ": " + what + ": " + LastSystemError());
}

// Half of the address space, so that differences of pointers fit too.
void CheckFits(const std::string& path, uint64_t bytes) {
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<ptrdiff_t>::max());
  if (bytes <= kMax) return;
  throw Error(path + ": too large for this machine's address space: " + std::to_string(bytes) +
              " bytes, at most " + std::to_string(kMax) + " in a program of " +
              std::to_string(8 * sizeof(void*)) + " bits");
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  if (!file_.OpenToRead(path)) Fail(path, "cannot open");
  CheckOpened();
}

MappedFile::MappedFile(int descriptor, const std::string& name) : path_(name) {
  if (!file_.OpenDescriptor(descriptor)) Fail(name, "cannot use the descriptor");
  CheckOpened();
}

void MappedFile::CheckOpened() {
  if (!file_.State(&opened_)) Fail(path_, "cannot open");
  if (opened_.kind == FileKind::kRegular) return;
  throw Error(path_ + (opened_.kind == FileKind::kFolder ? ": is a folder" : ": is not a regular file") +
              ", expected a .glint file");
}

MappedFile::~MappedFile() {
  stop_reader_.store(true);
  if (reader_.joinable()) reader_.join();
  if (is_copy_) {
    ReleasePages(const_cast<uint8_t*>(memory_), memory_bytes_);
  } else {
    UnmapFile(memory_, memory_bytes_);
  }
}

bool MappedFile::Unchanged() const {
  FileState now;
  return file_.State(&now) && now.SameContents(opened_);
}

void MappedFile::ReadAt(uint64_t offset, void* data, uint64_t size) const {
  char* out = static_cast<char*>(data);
  while (size > 0) {
    const int64_t n = file_.ReadAt(offset, out, size);
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
  CheckFits(path_, opened_.bytes);
  memory_ = file_.Map(opened_.bytes);
  if (!memory_) Fail(path_, "cannot map into memory");
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
void MappedFile::ReadParallel(uint64_t offset, uint8_t* data, uint64_t size,
                              const std::function<void(double)>& progress) const {
  std::atomic<uint64_t> next{0}, done{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::exception_ptr error;
  const auto tell = [&] { progress(static_cast<double>(done.load()) / static_cast<double>(size)); };
  const auto read = [&](bool tells) {
    try {
      for (uint64_t begin; (begin = next.fetch_add(kStep)) < size;) {
        const uint64_t end = begin + std::min(kStep, size - begin);
        for (uint64_t at = begin; at < end && !stop.load(); at += kStopStep) {
          const uint64_t n = std::min(kStopStep, end - at);
          ReadAt(offset + at, data + at, n);
          done.fetch_add(n);
          if (tells) tell();
        }
      }
      // The others may be at it for a while; whoever wants to stop is asked all the same.
      while (tells && done.load() < size && !stop.load()) {
        std::this_thread::sleep_for(kTellInterval);
        tell();
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
      stop.store(true);
      next.store(size);
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(kCopyThreads);  // nothing but a refused thread may throw while others run
  try {
    const size_t n = std::min<size_t>(kCopyThreads, std::thread::hardware_concurrency());
    for (size_t i = 1; i < n && i * kStep < size; ++i) threads.emplace_back(read, false);
  } catch (const std::exception&) {  // no thread, or no memory for one
    // Those that started, and this one, are enough.
  }
  read(progress != nullptr);
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

const uint8_t* MappedFile::Copy(uint64_t offset, const std::function<void(double)>& progress) {
  const uint64_t size = opened_.bytes - offset;
  CheckFits(path_, size);
  uint8_t* const memory = ReservePages(size);
  if (!memory) Fail(path_, "no memory for a copy of the file");
  memory_ = memory;
  is_copy_ = true;
  memory_bytes_ = std::max<uint64_t>(size, 1);
  ReadParallel(offset, memory, size, progress);
  if (!Unchanged()) throw Error(path_ + ": the file changed while it was read");
  // From here on a stray write is a fault, as with a map.
  ForbidWriting(memory, memory_bytes_);
  file_.Close();
  return memory_;
}

}  // namespace glint
