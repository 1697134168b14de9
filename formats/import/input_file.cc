#include "formats/import/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "lib/error.h"

namespace glint {
namespace {

// The largest piece given to one pread: some systems fail above 2^31 - 1.
constexpr uint64_t kMaxPiece = uint64_t{1} << 30;

std::string SystemMessage(int code) {
  return std::generic_category().message(code);
}

struct Kind {
  size_t offset;
  std::string_view magic;
  const char* description;
};

using namespace std::string_view_literals;  // the magic bytes may hold NUL

constexpr Kind kKinds[] = {
    {0, "version https://git-lfs"sv,
     "a git-lfs pointer, not the file itself: fetch it with 'git lfs pull' or download it again"},
    {0, "<!DOCTYPE"sv, "an HTML page: the download failed, fetch the file again"},
    {0, "<!doctype"sv, "an HTML page: the download failed, fetch the file again"},
    {0, "<html"sv, "an HTML page: the download failed, fetch the file again"},
    {0, "GGUF"sv, "a GGUF file"},
    {0, "\x89GLINT"sv, "a .glint file"},
    {0, "PK\x03\x04"sv, "a zip file, perhaps a PyTorch checkpoint"},
    {0, "\x80\x02"sv,
     "a bare pickle, the form before PyTorch 1.6: load it and save it again with torch.save or as "
     "safetensors"},
    {257, "ustar"sv,
     "a tar file, the oldest PyTorch form: load it and save it again with torch.save or as "
     "safetensors"},
    {0, "\x1F\x8B"sv, "a gzip file: unpack it first"},
};
constexpr size_t kKindBytes = 262;  // enough for every row

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer. It changes nothing for regular files.
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) throw Error(path + ": cannot open: " + SystemMessage(errno));
  struct stat status;
  const int failed = fstat(fd_, &status);
  if (failed != 0 || !S_ISREG(status.st_mode)) {
    const std::string reason =
        failed != 0 ? SystemMessage(errno)
                    : (S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file");
    close(fd_);
    throw Error(path + ": cannot open: " + reason);
  }
  size_ = static_cast<uint64_t>(status.st_size);
  modified_seconds_ = status.st_mtim.tv_sec;
  modified_nanoseconds_ = status.st_mtim.tv_nsec;
}

InputFile::~InputFile() {
  if (fd_ >= 0) close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      modified_seconds_(other.modified_seconds_),
      modified_nanoseconds_(other.modified_nanoseconds_) {}

void InputFile::ReadAt(uint64_t offset, void* out, uint64_t size) const {
  if (offset > size_ || size > size_ - offset) {
    throw Error(path_ + ": expected " + std::to_string(size) + " bytes at offset " +
                std::to_string(offset) + ", but the file has " + std::to_string(size_) + " bytes");
  }
  auto* place = static_cast<uint8_t*>(out);
  while (size > 0) {
    const ssize_t got = pread(fd_, place, static_cast<size_t>(std::min(size, kMaxPiece)),
                              static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw Error(path_ + ": cannot read at offset " + std::to_string(offset) + ": " +
                  (got == 0 ? "the file has become shorter" : SystemMessage(errno)));
    }
    place += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<uint64_t>(got);
  }
}

void InputFile::CheckUnchanged() const {
  struct stat status;
  if (fstat(fd_, &status) == 0 && static_cast<uint64_t>(status.st_size) == size_ &&
      status.st_mtim.tv_sec == modified_seconds_ &&
      status.st_mtim.tv_nsec == modified_nanoseconds_) {
    return;
  }
  throw Error(path_ + ": the file was changed while it was being read");
}

std::vector<uint8_t> ReadWholeFile(const InputFile& file, uint64_t limit) {
  if (file.size() > limit) {
    throw Error(file.path() + ": expected at most " + std::to_string(limit) + " bytes, got " +
                std::to_string(file.size()));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(file.size()));
  file.ReadAt(0, bytes.data(), bytes.size());
  return bytes;
}

bool FileExists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
}

bool FolderExists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of("/\\:\0"sv) == std::string_view::npos;
}

std::string DescribeKind(const InputFile& file) {
  char start[kKindBytes];
  const size_t size = static_cast<size_t>(std::min<uint64_t>(file.size(), kKindBytes));
  file.ReadAt(0, start, size);
  const std::string_view bytes(start, size);
  for (const Kind& kind : kKinds) {
    if (kind.offset <= size &&
        bytes.substr(kind.offset).substr(0, kind.magic.size()) == kind.magic) {
      return kind.description;
    }
  }
  return "";
}

}  // namespace glint
