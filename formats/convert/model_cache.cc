#include "formats/convert/model_cache.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "formats/checksum.h"
#include "formats/convert/run_throwing.h"
#include "formats/import/gguf.h"
#include "formats/import/input_file.h"
#include "formats/output_file.h"
#include "lib/error.h"
#include "lib/system/file.h"
#include "lib/thread_pool.h"
#include "lib/version.h"

namespace glint {
namespace {

// Raised where a conversion of the same source gives another file under the same kVersion.
constexpr int kRevision = 1;
constexpr uint64_t kPieceBytes = uint64_t{32} << 20;  // that one thread hashes at a time
constexpr uint64_t kReadBytes = uint64_t{1} << 20;
// Times of change have the grain of the clock's ticks: a file that is younger than this when it was
// read may have changed since without looking so.
constexpr int64_t kSettledSeconds = 3;

// A file whose contents count, and what stands for its name: in a folder names matter, the parts of
// a GGUF file may have any.
struct SourceFile {
  std::string path, name;
};

// What a checkpoint is read from is somewhere among the files of its folder.
std::vector<SourceFile> FilesOf(const std::string& source) {
  std::vector<SourceFile> files;
  const bool is_folder = FolderExists(source);
  if (IsGguf(source)) {
    const std::unique_ptr<Gguf> gguf = Gguf::Open(source);
    for (size_t i = 0; i < gguf->parts(); ++i) {
      files.push_back({gguf->PartPath(i), std::to_string(i)});
    }
    return files;
  }
  const std::string folder = is_folder ? source : FolderPart(FullPath(source));
  std::vector<std::string> names;
  if (!ListFolder(folder, &names)) {
    throw Error(folder + ": cannot be listed: " + LastSystemError());
  }
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    if (name.starts_with('.') || !IsRegularFile(path)) continue;
    if (name.ends_with(".glint") || name.ends_with(".gguf") || name.ends_with(".md")) continue;
    files.push_back({path, name});
  }
  if (!is_folder) files.push_back({source, "source"});  // which of them is meant
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.name < b.name; });
  return files;
}

// One hash of several texts and numbers.
class Mix {
 public:
  void Add(const std::string& text) {
    Add(text.size());
    checksum_.Update(text.data(), text.size());
  }
  void Add(uint64_t value) { checksum_.Update(&value, sizeof value); }
  std::string Text() const { return ChecksumText(checksum_.Digest()); }

 private:
  Checksum checksum_;
};

// What the system says of the files. `settled`: none of them has changed just now.
std::string IdentityOf(const std::vector<SourceFile>& files, bool* settled) {
  Mix mix;
  *settled = true;
  for (const SourceFile& file : files) {
    const FileState state = StateOf(file.path);
    if (state.kind == FileKind::kNone) throw Error(file.path + ": cannot be read");
    mix.Add(FullPath(file.path));
    for (const auto value : {state.device, state.inode, state.bytes,
                             static_cast<uint64_t>(state.modified),
                             static_cast<uint64_t>(state.changed)}) {
      mix.Add(value);
    }
    const int64_t age = int64_t{std::time(nullptr)} - state.changed / 1000000000;
    if (age < kSettledSeconds) *settled = false;
  }
  return mix.Text();
}

std::string HashOf(const std::vector<SourceFile>& files, size_t threads,
                   const std::function<void(double)>& progress) {
  struct Piece {
    const InputFile* file;
    uint64_t begin, bytes, digest;
  };
  std::vector<std::unique_ptr<InputFile>> opened;
  std::vector<Piece> pieces;
  uint64_t total = 1;
  Mix mix;
  for (const SourceFile& file : files) {
    const InputFile& input = *opened.emplace_back(std::make_unique<InputFile>(file.path));
    mix.Add(file.name);
    mix.Add(input.size());
    total += input.size();
    for (uint64_t at = 0; at < input.size(); at += kPieceBytes) {
      pieces.push_back({&input, at, std::min(kPieceBytes, input.size() - at), 0});
    }
  }
  ThreadPool pool(threads == 0 ? DefaultThreads() : threads);
  std::atomic<uint64_t> done{0};
  RunThrowing(pool, pieces.size(), [&](size_t task, size_t) {
    Piece& piece = pieces[task];
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[kReadBytes]);
    Checksum checksum;
    for (uint64_t at = 0; at < piece.bytes; at += kReadBytes) {
      const uint64_t n = std::min(kReadBytes, piece.bytes - at);
      piece.file->ReadAt(piece.begin + at, bytes.get(), n);
      checksum.Update(bytes.get(), n);
    }
    piece.digest = checksum.Digest();
    done += piece.bytes;
    if (progress) progress(static_cast<double>(done.load()) / static_cast<double>(total));
  });
  for (const auto& input : opened) input->CheckUnchanged();
  for (const Piece& piece : pieces) mix.Add(piece.digest);
  return mix.Text();
}

// What the note says; empty if there is none, or it is damaged.
std::string ReadNote(const std::string& path) {
  if (!FileExists(path)) return "";
  const std::vector<uint8_t> bytes = ReadWholeFile(InputFile(path), 1 << 10);
  const std::string text(bytes.begin(), bytes.end());
  uint64_t ignored;
  return ParseChecksum(text, &ignored) ? text : "";
}

void WriteNote(const std::string& path, const std::string& text) {
  OutputFile file(path, true);
  file.Resize(text.size());
  file.WriteAt(0, text.data(), text.size());
  file.Commit();
}

}  // namespace

std::string CacheFolder() {
  std::string lacking;
  const std::string base = UserCacheFolder(&lacking);
  if (base.empty()) throw Error("there is no folder for a cache: " + lacking + " is set");
  const std::string folder = base + "/glint";
  if (!MakeFolders(folder)) throw Error(folder + ": cannot be made: " + LastSystemError());
  return folder;
}

std::string CachePath(const std::string& folder, const std::string& source,
                      const std::string& variant, size_t threads,
                      const std::function<void(double)>& progress) {
  const std::vector<SourceFile> files = FilesOf(source);
  bool settled;
  const std::string note = folder + "/" + IdentityOf(files, &settled) + ".hash";
  std::string hash = ReadNote(note);
  if (hash.empty()) {
    hash = HashOf(files, threads, progress);
    if (settled) WriteNote(note, hash);
  }
  return folder + "/" + hash + "-" + variant + "-" + kVersion + "." + std::to_string(kRevision) +
         ".glint";
}

}  // namespace glint
