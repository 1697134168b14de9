#include "formats/import/gguf.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "formats/import/input_file.h"
#include "formats/import/source_tensor.h"
#include "formats/reader.h"

namespace glint {
namespace {

// Nothing says how long the header is. A vocabulary of 256,000 tokens with its merges takes 16 MiB.
constexpr uint64_t kMaxHeaderBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxTensors = 1 << 17;  // more than any file has
constexpr uint64_t kMaxNameBytes = 65535;  // ggml has 63, but no reason to refuse what it would
constexpr uint32_t kMaxDims = 4;           // the format's own limit
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;  // name, rank, type, offset
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint64_t kMaxParts = 65535;     // split.count is a uint16
constexpr size_t kChunkBytes = 32 << 10;  // decoded at a time, on the stack

// One file of the set.
struct Part {
  InputFile file;
  uint32_t version = 0;
  GgufMetadata metadata{};
  std::vector<GgufTensor> tensors{};
};

uint32_t ReadVersion(Reader& reader, const InputFile& file) {
  char magic[4];
  reader.ReadBytes(magic, sizeof magic, "magic");
  if (std::string_view(magic, sizeof magic) != "GGUF") {
    const std::string kind = DescribeKind(file);
    throw Error(file.path() + ": not a GGUF file: " +
                (kind.empty() ? "expected 'GGUF' at byte 0, got " + Quoted({magic, sizeof magic})
                              : "this looks like " + kind));
  }
  const auto version = reader.Read<uint32_t>("version");
  if (version == 2 || version == 3) return version;
  std::string found = "version " + std::to_string(version);
  if (version == 1) found += ", of August 2023: make the file again with llama.cpp";
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped <= 3 && version != 0) {
    found = "a big-endian file of version " + std::to_string(swapped) +
            ": turn it with gguf_convert_endian.py of llama.cpp";
  }
  throw Error(file.path() + ": expected GGUF version 2 or 3, little-endian, got " + found);
}

uint64_t AlignmentOf(const GgufMetadata& metadata, const std::string& path) {
  constexpr const char* kKey = "general.alignment";
  const GgufValue* value = metadata.Find(kKey);
  if (value == nullptr) return kDefaultAlignment;
  if (value->is_array || value->type != GgufType::kU32) {
    throw Error(path + ": key 'general.alignment': expected a uint32, got " + value->TypeName());
  }
  const uint64_t alignment = metadata.Uint(kKey, 1, kMaxAlignment);
  if ((alignment & (alignment - 1)) == 0) return alignment;
  throw Error(path + ": key 'general.alignment': expected a power of two, got " +
              std::to_string(alignment));
}

const GgmlType* ReadType(Reader& reader) {
  const auto id = reader.Read<uint32_t>("type");
  const GgmlType* type = FindGgmlType(id);
  if (type == nullptr) {
    reader.Fail("expected a known ggml type, got number " + std::to_string(id));
  }
  if (type->block_elements == 0) {
    reader.Fail(std::string("its type ") + type->name +
                " was taken out of the format: make the file again with llama.cpp");
  }
  return type;
}

void ReadShape(Reader& reader, GgufTensor* tensor) {
  const auto dims = reader.Read<uint32_t>("number of dimensions");
  if (dims == 0 || dims > kMaxDims) {
    reader.Fail("expected 1 to " + std::to_string(kMaxDims) + " dimensions, got " +
                std::to_string(dims));
  }
  tensor->shape.resize(dims);
  for (uint32_t i = 0; i < dims; ++i) {
    tensor->shape[dims - 1 - i] = reader.Read<uint64_t>("dimension");
  }
  if (std::find(tensor->shape.begin(), tensor->shape.end(), 0u) != tensor->shape.end()) {
    reader.Fail("expected dimensions of at least 1, got 0");
  }
  if (!CountElements(tensor->shape, &tensor->elements)) {
    reader.Fail("the product of its dimensions does not fit 64 bits");
  }
}

// An entry of the table; its offset is relative to the data, which begins behind the table.
GgufTensor ReadTensor(Reader& reader, const std::string& path) {
  GgufTensor tensor;
  tensor.name = reader.ReadString(kMaxNameBytes, "tensor name");
  CheckTensorName(tensor.name, path);
  reader.SetWhere(path + ": tensor " + Quoted(tensor.name));
  ReadShape(reader, &tensor);
  tensor.type = ReadType(reader);
  tensor.offset = reader.Read<uint64_t>("offset");
  const uint64_t columns = tensor.shape.back();
  if (columns % tensor.type->block_elements != 0) {
    reader.Fail("expected rows of a multiple of " + std::to_string(tensor.type->block_elements) +
                " for " + tensor.type->name + ", got " + std::to_string(columns));
  }
  if (!CheckedMul(tensor.elements / tensor.type->block_elements, tensor.type->block_bytes,
                  &tensor.bytes)) {
    reader.Fail("its size in bytes does not fit 64 bits");
  }
  return tensor;
}

// Checks where a tensor says that it is: where the one before it ends, padded, which is how
// everybody writes and what llama.cpp demands. So nothing overlaps, and no byte hides in a hole.
// Its offset becomes that in the file; returns where the next is, from the data's beginning on.
uint64_t PlaceTensor(GgufTensor* tensor, uint64_t expected, uint64_t data_begin,
                     uint64_t alignment, const InputFile& file) {
  const std::string where = file.path() + ": tensor " + Quoted(tensor->name) + ": ";
  const std::string offset = std::to_string(tensor->offset);
  if (tensor->offset != expected) {
    throw Error(where + "expected offset " + std::to_string(expected) + ", got " + offset +
                (tensor->offset % alignment != 0
                     ? ", which is no multiple of " + std::to_string(alignment)
                 : tensor->offset < expected ? ": it overlaps the tensor before it"
                                             : ": there is a hole before it"));
  }
  uint64_t end = 0;
  if (!CheckedAdd(data_begin, tensor->offset, &tensor->offset) ||
      !CheckedAdd(tensor->offset, tensor->bytes, &end) || end > file.size()) {
    throw Error(where + "its " + std::to_string(tensor->bytes) + " bytes at offset " + offset +
                " of the data, which begins at byte " + std::to_string(data_begin) +
                ", are not within the file's " + std::to_string(file.size()) +
                ": is it cut off, or still downloading?");
  }
  // Below the file's size, so the sum cannot wrap.
  return (expected + tensor->bytes + alignment - 1) / alignment * alignment;
}

Part ReadPart(const std::string& path) {
  Part part{InputFile(path)};
  const auto fill = [&file = part.file](uint64_t offset, void* out, uint64_t n) {
    file.ReadAt(offset, out, n);
  };
  Reader reader(fill, std::min(part.file.size(), kMaxHeaderBytes), path + ": header",
                part.file.size() > kMaxHeaderBytes ? " of the 256 MiB that a header may have" : "");
  part.version = ReadVersion(reader, part.file);
  const auto tensors = reader.Read<uint64_t>("number of tensors");
  const auto pairs = reader.Read<uint64_t>("number of key-value pairs");
  if (tensors > kMaxTensors) {
    reader.Fail("expected at most " + std::to_string(kMaxTensors) + " tensors, got " +
                std::to_string(tensors));
  }
  part.metadata = GgufMetadata::Read(reader, pairs, path);
  const uint64_t alignment = AlignmentOf(part.metadata, path);
  reader.SetWhere(path + ": tensor table");
  reader.Require(tensors, kMinTensorBytes, "tensors");
  for (uint64_t i = 0; i < tensors; ++i) {
    reader.SetWhere(path + ": tensor " + std::to_string(i) + " of " + std::to_string(tensors));
    part.tensors.push_back(ReadTensor(reader, path));
  }
  const uint64_t data_begin = (reader.position() + alignment - 1) / alignment * alignment;
  uint64_t next = 0;
  for (GgufTensor& tensor : part.tensors) {
    next = PlaceTensor(&tensor, next, data_begin, alignment, part.file);
  }
  return part;
}

// The path of a part, numbered from 0: llama.cpp's SPLIT_PATH_FORMAT.
std::string PartEnding(uint64_t part, uint64_t parts) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05u-of-%05u.gguf", static_cast<unsigned>(part + 1),
                static_cast<unsigned>(parts));
  return text;
}

// Which part of how many a file says that it is; {0, 1} of a file that is not split.
struct Split {
  uint64_t part = 0, parts = 1;
};
Split SplitOf(const GgufMetadata& metadata) {
  if (metadata.Find("split.count") == nullptr) return {};
  const uint64_t parts = metadata.Uint("split.count", 0, kMaxParts);
  if (parts <= 1) return {};
  return {metadata.Uint("split.no", 0, parts - 1), parts};
}

}  // namespace

struct Gguf::Impl {
  std::string path;
  std::vector<Part> parts;
  std::vector<GgufTensor> tensors;  // sorted by name

  void OpenParts();
  void CollectTensors();
  uint64_t BlocksOf(const GgufTensor& tensor, uint64_t begin, uint64_t count) const;
};

void Gguf::Impl::OpenParts() {
  Part first = ReadPart(path);
  const Split split = SplitOf(first.metadata);
  if (split.parts == 1) {
    parts.push_back(std::move(first));
    return;
  }
  const std::string ending = PartEnding(split.part, split.parts);
  if (!path.ends_with(ending)) {
    throw Error(path + ": by its keys 'split.no' and 'split.count' this is part " +
                std::to_string(split.part + 1) + " of " + std::to_string(split.parts) +
                ": expected a name that ends in " + ending);
  }
  const std::string prefix = path.substr(0, path.size() - ending.size());
  for (uint64_t i = 0; i < split.parts; ++i) {
    if (i == split.part) {
      parts.push_back(std::move(first));
      continue;
    }
    const std::string name = prefix + PartEnding(i, split.parts);
    if (!FileExists(name)) {
      throw Error(path + ": expected " + std::to_string(split.parts) + " parts, but part " +
                  std::to_string(i + 1) + " is not there: " + Quoted(name));
    }
    Part part = ReadPart(name);
    const Split found = SplitOf(part.metadata);
    if (found.part != i || found.parts != split.parts) {
      throw Error(name + ": expected part " + std::to_string(i + 1) + " of " +
                  std::to_string(split.parts) + ", but its keys say part " +
                  std::to_string(found.part + 1) + " of " + std::to_string(found.parts));
    }
    parts.push_back(std::move(part));
  }
}

void Gguf::Impl::CollectTensors() {
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) parts[i].metadata = {};  // the first part's is the set's
    for (GgufTensor& tensor : parts[i].tensors) {
      tensor.file = static_cast<uint32_t>(i);
      tensors.push_back(std::move(tensor));
    }
    parts[i].tensors.clear();
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(tensors.begin(), tensors.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twin != tensors.end()) {
    throw Error(parts[twin->file].file.path() + ": the tensor " + Quoted(twin->name) +
                " is also in " + Quoted(parts[std::next(twin)->file].file.path()));
  }
  constexpr const char* kTotal = "split.tensors.count";
  const GgufMetadata& metadata = parts[0].metadata;
  if (parts.size() == 1 || metadata.Find(kTotal) == nullptr) return;
  const uint64_t expected = metadata.Uint(kTotal, 0, kMaxTensors * kMaxParts);
  if (expected == tensors.size()) return;
  throw Error(parts[0].file.path() + ": key 'split.tensors.count': expected " +
              std::to_string(expected) + " tensors in all parts, got " +
              std::to_string(tensors.size()));
}

// How many blocks, once the range has been checked.
uint64_t Gguf::Impl::BlocksOf(const GgufTensor& tensor, uint64_t begin, uint64_t count) const {
  const uint64_t block = tensor.type->block_elements;
  if (begin > tensor.elements || count > tensor.elements - begin || begin % block != 0 ||
      count % block != 0) {
    throw Error(parts.at(tensor.file).file.path() + ": tensor " + Quoted(tensor.name) +
                ": expected whole blocks of " + std::to_string(block) + " within its " +
                std::to_string(tensor.elements) + " elements, got " + std::to_string(count) +
                " from " + std::to_string(begin));
  }
  return count / block;
}

bool IsGguf(const std::string& path) {
  if (!FileExists(path)) return false;
  const InputFile file(path);
  char magic[4] = {};
  if (file.size() >= sizeof magic) file.ReadAt(0, magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

Gguf::Gguf() : impl_(std::make_unique<Impl>()) {}
Gguf::~Gguf() = default;

std::unique_ptr<Gguf> Gguf::Open(const std::string& path) {
  std::unique_ptr<Gguf> gguf(new Gguf());
  gguf->impl_->path = path;
  gguf->impl_->OpenParts();
  gguf->impl_->CollectTensors();
  return gguf;
}

const std::string& Gguf::path() const {
  return impl_->path;
}

uint32_t Gguf::version() const {
  return impl_->parts[0].version;
}

size_t Gguf::parts() const {
  return impl_->parts.size();
}

const std::string& Gguf::PartPath(size_t part) const {
  return impl_->parts.at(part).file.path();
}

const GgufMetadata& Gguf::metadata() const {
  return impl_->parts[0].metadata;
}

const std::vector<GgufTensor>& Gguf::tensors() const {
  return impl_->tensors;
}

const GgufTensor* Gguf::Find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors().begin(), tensors().end(), name,
      [](const GgufTensor& t, std::string_view wanted) { return t.name < wanted; });
  return found != tensors().end() && found->name == name ? &*found : nullptr;
}

const std::string& Gguf::FileName(const GgufTensor& tensor) const {
  return impl_->parts.at(tensor.file).file.path();
}

void Gguf::ReadRaw(const GgufTensor& tensor, uint64_t begin, uint64_t count, void* out) const {
  const uint64_t blocks = impl_->BlocksOf(tensor, begin, count);
  const InputFile& file = impl_->parts[tensor.file].file;
  file.CheckUnchanged();
  file.ReadAt(tensor.offset + begin / tensor.type->block_elements * tensor.type->block_bytes, out,
              blocks * tensor.type->block_bytes);
}

void Gguf::ReadF32(const GgufTensor& tensor, uint64_t begin, uint64_t count, float* out) const {
  const GgmlType& type = *tensor.type;
  if (type.decode == nullptr) {
    throw Error(FileName(tensor) + ": tensor " + Quoted(tensor.name) + ": the type " + type.name +
                " is not supported");
  }
  impl_->BlocksOf(tensor, begin, count);
  uint8_t chunk[kChunkBytes];
  const uint64_t chunk_blocks = kChunkBytes / type.block_bytes;
  while (count > 0) {
    const uint64_t blocks = std::min(count / type.block_elements, chunk_blocks);
    const uint64_t elements = blocks * type.block_elements;
    ReadRaw(tensor, begin, elements, chunk);
    type.decode(chunk, static_cast<size_t>(blocks), out);
    begin += elements;
    count -= elements;
    out += elements;
  }
}

}  // namespace glint
