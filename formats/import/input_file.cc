#include "formats/import/input_file.h"

#include <algorithm>
#include <limits>

#include "lib/error.h"

namespace glint {
namespace {

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
  if (!file_.OpenToRead(path) || !file_.State(&opened_)) {
    throw Error(path + ": cannot open: " + LastSystemError());
  }
  // Sizes of what is in a file are not checked again where they become a size_t.
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<ptrdiff_t>::max());
  if (opened_.bytes > kMax) {
    throw Error(path + ": has " + std::to_string(opened_.bytes) +
                " bytes; converting files above 2 GiB needs a 64-bit build of glint");
  }
  if (opened_.kind == FileKind::kRegular) return;
  throw Error(path + ": cannot open: " +
              (opened_.kind == FileKind::kFolder ? "it is a folder" : "it is not a regular file"));
}

void InputFile::ReadAt(uint64_t offset, void* out, uint64_t size) const {
  if (offset > opened_.bytes || size > opened_.bytes - offset) {
    throw Error(path_ + ": expected " + std::to_string(size) + " bytes at offset " +
                std::to_string(offset) + ", but the file has " + std::to_string(opened_.bytes) + " bytes");
  }
  auto* place = static_cast<uint8_t*>(out);
  while (size > 0) {
    const int64_t got = file_.ReadAt(offset, place, size);
    if (got <= 0) {
      throw Error(path_ + ": cannot read at offset " + std::to_string(offset) + ": " +
                  (got == 0 ? "the file has become shorter" : LastSystemError()));
    }
    place += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<uint64_t>(got);
  }
}

void InputFile::CheckUnchanged() const {
  FileState now;
  if (file_.State(&now) && now.SameContents(opened_)) return;
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
  const FileKind kind = StateOf(path).kind;
  return kind != FileKind::kNone && kind != FileKind::kFolder;
}

bool FolderExists(const std::string& path) { return IsFolder(path); }

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
