#include "formats/import/torch_file.h"

#include <string>
#include <string_view>
#include <utility>

#include "formats/import/torch_pickle.h"
#include "formats/import/torch_zip.h"
#include "lib/checked_math.h"

namespace glint {
namespace {

// 100,000 tensors take about 15 MB. The recogniser needs some 20 bytes for each of these.
constexpr uint64_t kMaxPickleBytes = uint64_t{32} << 20;
constexpr uint64_t kMaxNoteBytes = 64;  // of the records `version` and `byteorder`
constexpr std::string_view kPickleName = "/data.pkl";

// The versions of the container that PyTorch has written so far.
constexpr uint32_t kMinVersion = 1, kMaxVersion = 10;

// All members lie in one folder, named as the file was when it was saved. Returns it with its
// slash.
std::string FindTopFolder(const ZipDirectory& directory, const std::string& path) {
  std::string folder;
  for (const auto& [name, record] : directory) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos || name.substr(slash) != kPickleName) continue;
    if (!folder.empty()) {
      throw Error(path + ": two members are named data.pkl: " + Quoted(folder) + " and " +
                  Quoted(name));
    }
    folder = name.substr(0, slash + 1);
  }
  if (folder.empty()) {
    throw Error(path + ": no member NAME/data.pkl: not a PyTorch checkpoint");
  }
  for (const auto& [name, record] : directory) {
    if (!name.starts_with(folder)) {
      throw Error(path + ": the member " + Quoted(name) + " is not in " + Quoted(folder));
    }
    const std::string_view inner = std::string_view(name).substr(folder.size());
    if (inner == "constants.pkl" || inner.starts_with("code/")) {
      throw Error(path + ": a TorchScript program (member " + Quoted(name) +
                  "): save its state_dict with torch.save");
    }
  }
  return folder;
}

// The text of a small member without the newline at its end; false if there is none.
bool ReadNote(const InputFile& file, const ZipDirectory& directory, const std::string& name,
              std::string* text) {
  const auto found = directory.find(name);
  if (found == directory.end()) return false;
  const std::vector<uint8_t> bytes = ReadZipRecord(file, name, found->second, kMaxNoteBytes);
  text->assign(bytes.begin(), bytes.end());
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return true;
}

void CheckNotes(const InputFile& file, const ZipDirectory& directory, const std::string& folder) {
  std::string text;
  if (!ReadNote(file, directory, folder + ".data/version", &text) &&
      !ReadNote(file, directory, folder + "version", &text)) {
    throw Error(file.path() + ": the member " + Quoted(folder + "version") + " is missing");
  }
  uint32_t version = 0;
  for (const char digit : text) {
    const bool is_digit = digit >= '0' && digit <= '9' && version <= kMaxVersion;
    version = is_digit ? version * 10 + static_cast<uint32_t>(digit - '0') : kMaxVersion + 1;
  }
  if (version < kMinVersion || version > kMaxVersion) {
    throw Error(file.path() + ": member " + Quoted(folder + "version") + ": expected " +
                std::to_string(kMinVersion) + " to " + std::to_string(kMaxVersion) + ", got " +
                Quoted(text));
  }
  if (ReadNote(file, directory, folder + "byteorder", &text) && text != "little") {
    throw Error(file.path() + ": member " + Quoted(folder + "byteorder") +
                ": expected 'little', got " + Quoted(text));
  }
}

// Where each storage begins in the file.
std::vector<uint64_t> PlaceStorages(const std::vector<PickledStorage>& storages,
                                    const ZipDirectory& directory, const std::string& folder,
                                    const std::string& path) {
  std::vector<uint64_t> places;
  places.reserve(storages.size());
  for (const PickledStorage& storage : storages) {
    const std::string name = folder + "data/" + storage.key;
    const auto found = directory.find(name);
    if (found == directory.end()) {
      throw Error(path + ": the member " + Quoted(name) + ", a storage of the pickle, is missing");
    }
    uint64_t bytes = 0;
    if (!CheckedMul(storage.elements, ElementBytes(storage.type), &bytes) ||
        bytes != found->second.bytes) {
      throw Error(path + ": member " + Quoted(name) + ": expected " +
                  std::to_string(storage.elements) + " elements of " + Name(storage.type) +
                  ", got " + std::to_string(found->second.bytes) + " bytes");
    }
    places.push_back(found->second.offset);
  }
  return places;
}

}  // namespace

std::vector<SourceTensor> ReadTorchFile(const InputFile& file) {
  const std::string& path = file.path();
  const ZipDirectory directory = ReadZipDirectory(file);
  const std::string folder = FindTopFolder(directory, path);
  CheckNotes(file, directory, folder);
  const std::string name = folder + std::string(kPickleName.substr(1));
  const std::vector<uint8_t> pickle =
      ReadZipRecord(file, name, directory.find(name)->second, kMaxPickleBytes);
  PickledTensors pickled = RecognizePickle(pickle, path + ": data.pkl");
  const std::vector<uint64_t> places = PlaceStorages(pickled.storages, directory, folder, path);

  std::vector<SourceTensor> tensors;
  tensors.reserve(pickled.tensors.size());
  for (PickledTensor& from : pickled.tensors) {
    SourceTensor tensor;
    tensor.name = std::move(from.name);
    tensor.type = pickled.storages[from.storage].type;
    tensor.shape = std::move(from.shape);
    tensor.offset = places[from.storage] + from.offset * ElementBytes(tensor.type);
    tensor.elements = from.elements;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace glint
