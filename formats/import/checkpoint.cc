#include "formats/import/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "formats/import/safetensors.h"
#include "formats/import/torch_file.h"
#include "formats/json.h"
#include "quant/f16.h"

namespace glint {
namespace {

using nlohmann::json;

constexpr size_t kChunkBytes = 32 << 10;  // converted at a time, on the stack

struct Container {
  std::string_view suffix;
  std::vector<SourceTensor> (*read)(const InputFile& file);
};

// By name, not by content: a pickle that calls itself safetensors is to be refused.
constexpr Container kContainers[] = {
    {".safetensors", ReadSafetensors}, {".bin", ReadTorchFile},  {".pt", ReadTorchFile},
    {".pth", ReadTorchFile},           {".ckpt", ReadTorchFile},
};

const Container& ContainerOf(const InputFile& file) {
  for (const Container& container : kContainers) {
    if (file.path().ends_with(container.suffix)) return container;
  }
  const std::string kind = DescribeKind(file);
  throw Error(file.path() + ": expected a folder, a .safetensors file or a PyTorch .bin file" +
              (kind.empty() ? "" : "; this looks like " + kind));
}

// `count` elements of `bytes` at `from` as f32.
using Convert = void (*)(const uint8_t* from, size_t count, float* out);

template <class T>
void ConvertNumber(const uint8_t* from, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

template <float (*kToFloat)(uint16_t)>
void ConvertHalf(const uint8_t* from, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    out[i] = kToFloat(bits);
  }
}

void CopyFloat(const uint8_t* from, size_t count, float* out) {
  std::memcpy(out, from, count * sizeof(float));
}

// In the order of SourceType. Null: not every value has an f32.
constexpr Convert kConverts[] = {
    nullptr,                 // F64
    CopyFloat,               // F32
    ConvertHalf<F16ToF32>,   // F16
    ConvertHalf<BF16ToF32>,  // BF16
    nullptr,                 // I64
    nullptr,                 // I32
    ConvertNumber<int16_t>,  // I16
    ConvertNumber<int8_t>,   // I8
    ConvertNumber<uint8_t>,  // U8
    ConvertNumber<uint8_t>,  // BOOL
};

json ReadConfig(const std::string& folder) {
  const std::string path = JoinPath(folder, "config.json");
  json config = ReadJsonIfThere(path);
  if (!config.is_object() && FileExists(path)) {
    throw Error(path + ": expected a JSON object, got " + config.type_name());
  }
  return config;
}

}  // namespace

struct Checkpoint::Impl {
  std::string path, folder;
  json config;
  std::vector<InputFile> files;
  std::vector<SourceTensor> tensors;  // sorted by name

  void AddFile(const std::string& file_path);
  void SortTensors();
  void CheckIndex(const WeightFiles& weights) const;
  const SourceTensor* Find(std::string_view name) const;
  uint64_t PlaceOf(const SourceTensor& tensor, uint64_t begin, uint64_t count) const;
};

void Checkpoint::Impl::AddFile(const std::string& file_path) {
  files.emplace_back(file_path);
  const InputFile& file = files.back();
  std::vector<SourceTensor> found = ContainerOf(file).read(file);
  for (SourceTensor& tensor : found) {
    tensor.file = static_cast<uint32_t>(files.size() - 1);
    tensors.push_back(std::move(tensor));
  }
}

void Checkpoint::Impl::SortTensors() {
  const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  std::sort(tensors.begin(), tensors.end(), by_name);
  const auto twin =
      std::adjacent_find(tensors.begin(), tensors.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twin == tensors.end()) return;
  throw Error(files[twin->file].path() + ": the tensor " + Quoted(twin->name) + " is also in " +
              Quoted(files[std::next(twin)->file].path()));
}

// Each tensor of the index must be in the shard that it says. A shard may hold more: published ones
// do (buffers), and the published loader takes them.
void Checkpoint::Impl::CheckIndex(const WeightFiles& weights) const {
  for (const auto& [name, file] : weights.file_of) {
    const SourceTensor* tensor = Find(name);
    if (tensor != nullptr && tensor->file == file) continue;
    throw Error(weights.index + ": weight_map: " + Quoted(name) + " is not in " +
                Quoted(weights.paths[file]) +
                (tensor == nullptr ? "" : " but in " + Quoted(files[tensor->file].path())));
  }
}

const SourceTensor* Checkpoint::Impl::Find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const SourceTensor& t, std::string_view wanted) { return t.name < wanted; });
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

// The offset of element `begin` in the tensor's file, once the range has been checked.
uint64_t Checkpoint::Impl::PlaceOf(const SourceTensor& tensor, uint64_t begin,
                                   uint64_t count) const {
  const std::string& file = files.at(tensor.file).path();
  if (begin > tensor.elements || count > tensor.elements - begin) {
    throw Error(file + ": tensor " + Quoted(tensor.name) + ": expected " + std::to_string(count) +
                " elements from " + std::to_string(begin) + ", but it has " +
                std::to_string(tensor.elements));
  }
  return tensor.offset + begin * ElementBytes(tensor.type);
}

Checkpoint::Checkpoint() : impl_(std::make_unique<Impl>()) {}
Checkpoint::~Checkpoint() = default;

std::unique_ptr<Checkpoint> Checkpoint::Open(const std::string& path) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  Impl& impl = *checkpoint->impl_;
  impl.path = path;
  if (FolderExists(path)) {
    impl.folder = path;
    const WeightFiles weights = FindWeightFiles(path);
    for (const std::string& file : weights.paths) impl.AddFile(file);
    impl.SortTensors();
    impl.CheckIndex(weights);
  } else {
    const size_t begin = NameBegin(path);
    impl.folder = begin == 0 ? "." : path.substr(0, begin);
    impl.AddFile(path);
    impl.SortTensors();
  }
  impl.config = ReadConfig(impl.folder);
  return checkpoint;
}

const std::string& Checkpoint::path() const {
  return impl_->path;
}

const json& Checkpoint::config() const {
  return impl_->config;
}

const std::vector<SourceTensor>& Checkpoint::tensors() const {
  return impl_->tensors;
}

const SourceTensor* Checkpoint::Find(std::string_view name) const {
  return impl_->Find(name);
}

const std::string& Checkpoint::FileName(const SourceTensor& tensor) const {
  return impl_->files.at(tensor.file).path();
}

std::string Checkpoint::FindFile(const std::string& name) const {
  if (!IsPlainFileName(name)) return "";
  const std::string path = JoinPath(impl_->folder, name);
  return FileExists(path) ? path : "";
}

void Checkpoint::ReadRaw(const SourceTensor& tensor, uint64_t begin, uint64_t count,
                         void* out) const {
  const uint64_t place = impl_->PlaceOf(tensor, begin, count);
  const InputFile& file = impl_->files[tensor.file];
  file.CheckUnchanged();
  file.ReadAt(place, out, count * ElementBytes(tensor.type));
}

void Checkpoint::ReadF32(const SourceTensor& tensor, uint64_t begin, uint64_t count,
                         float* out) const {
  const Convert convert = kConverts[static_cast<size_t>(tensor.type)];
  if (convert == nullptr) {
    throw Error(FileName(tensor) + ": tensor " + Quoted(tensor.name) + ": expected weights, got " +
                Name(tensor.type) + ", which f32 cannot hold exactly");
  }
  if (convert == CopyFloat) return ReadRaw(tensor, begin, count, out);
  uint64_t place = impl_->PlaceOf(tensor, begin, count);
  const InputFile& file = impl_->files[tensor.file];
  file.CheckUnchanged();
  const uint64_t element_bytes = ElementBytes(tensor.type);
  uint8_t chunk[kChunkBytes];
  while (count > 0) {
    const uint64_t piece = std::min<uint64_t>(count, kChunkBytes / element_bytes);
    file.ReadAt(place, chunk, piece * element_bytes);
    convert(chunk, static_cast<size_t>(piece), out);
    place += piece * element_bytes;
    out += piece;
    count -= piece;
  }
}

}  // namespace glint
