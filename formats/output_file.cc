#include "formats/output_file.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lib/error.h"

namespace glint {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 62;

[[noreturn]] void Fail(const std::string& path, const char* what) {
  throw Error(path + ": " + what + ": " + LastSystemError());
}

std::string Mebibytes(uint64_t bytes) {
  return std::to_string((bytes >> 20) + 1) + " MiB";
}

void CheckFreeSpace(const SystemFile& file, uint64_t needed, const std::string& path) {
  uint64_t available = 0;
  if (!file.AvailableSpace(&available)) return;  // unknown: writing will tell
  if (needed < available) return;
  throw Error(path + ": not enough space: needs " + Mebibytes(needed) + ", " +
              Mebibytes(available) + " available");
}

// The process id at the end of a temporary file's name; 0 if `name` is none of `prefix`.
uint32_t OwnerOf(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return 0;
  const std::string_view digits = name.substr(prefix.size());
  if (digits.empty() || digits.size() > 10) return 0;
  uint32_t pid = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    pid = pid * 10 + static_cast<uint32_t>(c - '0');
  }
  return pid;
}

}  // namespace

void CheckOutputPath(const std::string& path, bool overwrite) {
  const FileKind kind = StateOf(path).kind;
  if (kind == FileKind::kNone) return;
  if (kind == FileKind::kFolder) throw Error(path + ": is a folder, expected a file name");
  if (kind == FileKind::kOther) throw Error(path + ": exists and is not a regular file");
  if (!overwrite) throw Error(path + ": exists already");
}

OutputFile::OutputFile(const std::string& path, bool overwrite)
    : path_(path), overwrite_(overwrite) {
  const size_t begin = NameBegin(path);
  folder_ = begin == 0 ? "." : path.substr(0, begin);
  name_ = path.substr(begin);
  if (name_.empty() || name_ == "." || name_ == "..") throw Error(path + ": not a file name");
  CheckOutputPath(path, overwrite);
  temp_path_ = path.substr(0, begin) + "." + name_ + ".tmp-" + std::to_string(ProcessId());
  RemoveStale();
  Create();
}

OutputFile::~OutputFile() {
  if (file_.is_open()) file_.Remove(temp_path_);
}

void OutputFile::Create() {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    switch (file_.CreateTemporary(temp_path_)) {
      case SystemFile::Created::kDone: return;
      case SystemFile::Created::kTaken: break;
      case SystemFile::Created::kExists:
        throw Error(path_ + ": is being written by " + temp_path_);
      case SystemFile::Created::kFailed: Fail(path_, "cannot create a file beside it");
    }
  }
  throw Error(path_ + ": cannot keep a temporary file beside it: " + temp_path_);
}

void OutputFile::RemoveStale() const {
  std::vector<std::string> names;
  if (!ListFolder(folder_, &names)) Fail(path_, "cannot open its folder");
  const std::string prefix = "." + name_ + ".tmp-";
  for (const std::string& name : names) {
    const uint32_t pid = OwnerOf(name, prefix);
    const std::string path = JoinPath(folder_, name);
    if (pid != 0 && IsAbandoned(path, pid)) RemoveFile(path);
  }
}

void OutputFile::Resize(uint64_t bytes) {
  if (bytes > kMaxFileBytes)
    throw Error(path_ + ": too large: " + std::to_string(bytes) + " bytes");
  CheckFreeSpace(file_, bytes, path_);
  // Reserved now, so that a disk that fills up meanwhile cannot break the writing half way.
  if (!file_.Reserve(bytes)) Fail(path_, "cannot reserve space");
  if (!file_.Resize(bytes)) Fail(path_, "cannot resize");
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
    const int64_t n = file_.WriteAt(offset, in, size);
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
    const int64_t n = file_.ReadAt(offset, out, size);
    if (n < 0) Fail(path_, "cannot read back");
    if (n == 0) throw Error(path_ + ": its temporary file was cut by somebody else");
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
}

void OutputFile::Commit() {
  if (!file_.Sync()) Fail(path_, "cannot sync");
  switch (file_.Rename(temp_path_, path_, overwrite_)) {
    case SystemFile::Renamed::kDone: break;
    case SystemFile::Renamed::kExists: throw Error(path_ + ": exists already");
    case SystemFile::Renamed::kFailed: Fail(path_, "cannot rename");
  }
  // The data is on the disk, so a failing close no longer puts it at risk, but it is not hidden.
  if (!file_.Close()) Fail(path_, "cannot close");
  if (!SyncFolder(folder_)) Fail(path_, "cannot sync its folder");
}

bool SameFile(const std::string& a, const std::string& b) {
  const FileState first = StateOf(a), second = StateOf(b);
  return first.kind != FileKind::kNone && second.kind != FileKind::kNone &&
         first.device == second.device && first.inode == second.inode;
}

}  // namespace glint
