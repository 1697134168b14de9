#include "formats/glint_file.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>

#include "formats/checksum.h"
#include "formats/header.h"
#include "formats/json.h"
#include "formats/mapped_file.h"
#include "formats/prefix.h"
#include "lib/error.h"

namespace glint {
namespace {

using nlohmann::json;

// Bytes checked between two calls of `progress`.
constexpr uint64_t kVerifyStep = uint64_t{1} << 20;

// Member by member into a value that is owned: what nlohmann's copy leaves behind where memory ends
// half way, it would destroy itself.
void Copy(const json& from, json* to) {
  if (from.is_array()) {
    *to = json::array();
    for (const json& item : from) {
      to->push_back(nullptr);
      Copy(item, &to->back());
    }
  } else if (from.is_object()) {
    *to = json::object();
    for (const auto& [key, item] : from.get_ref<const json::object_t&>()) Copy(item, &(*to)[key]);
  } else {
    *to = from;
  }
}

JsonSection CopyOf(const JsonSection& section) {
  if (!section) return nullptr;
  JsonSection copy(new json);
  Copy(*section, copy.get());
  return copy;
}

// Part [begin, end) of a load's progress, as a function that throws where the caller wants to stop.
std::function<void(double)> ProgressPart(const std::string& path, const LoadOptions& options,
                                         double begin, double end) {
  if (!options.progress) return {};
  return [&path, &options, begin, end](double done) {
    if (!options.progress(begin + done * (end - begin))) {
      throw Cancelled(path + ": the loading was stopped");
    }
  };
}

void CheckCopyFits(const std::string& path, uint64_t bytes, uint64_t limit) {
  if (bytes <= limit) return;
  throw OutOfMemory(path + ": a private copy of its " + std::to_string(bytes >> 20) +
              " MiB does not fit into the " + std::to_string(limit >> 20) +
              " MiB that this machine has free; mapped it needs none");
}

struct FreeAligned {
  void operator()(uint8_t* memory) const {
    operator delete(memory, std::align_val_t(kTensorAlignment));
  }
};
using AlignedBytes = std::unique_ptr<uint8_t, FreeAligned>;

AlignedBytes AllocateAligned(uint64_t bytes) {
  return AlignedBytes(
      static_cast<uint8_t*>(operator new(bytes, std::align_val_t(kTensorAlignment))));
}

}  // namespace

void DeleteJson::operator()(json* section) const {
  TakeApart(section);
  delete section;
}

ModelHeader::ModelHeader()
    : metadata(new json(json::object())),
      config(new json(json::object())),
      prompt(new json(json::object())) {}

ModelHeader::ModelHeader(const ModelHeader& other)
    : metadata(CopyOf(other.metadata)),
      config(CopyOf(other.config)),
      tokenizer(CopyOf(other.tokenizer)),
      prompt(CopyOf(other.prompt)),
      graphs(other.graphs) {}

ModelHeader& ModelHeader::operator=(const ModelHeader& other) {
  ModelHeader copy(other);
  metadata.swap(copy.metadata);
  config.swap(copy.config);
  tokenizer.swap(copy.tokenizer);
  prompt.swap(copy.prompt);
  graphs.swap(copy.graphs);
  return *this;
}

ModelHeader::ModelHeader(ModelHeader&&) noexcept = default;
ModelHeader& ModelHeader::operator=(ModelHeader&&) noexcept = default;
ModelHeader::~ModelHeader() = default;

struct GlintFile::Impl {
  std::string path;
  uint64_t bytes = 0;
  uint64_t data_offset = 0;
  uint64_t hash = 0;
  FileHeader header;
  std::vector<Tensor> tensors;
  std::vector<size_t> by_name;    // indices of tensors, sorted by name
  const uint8_t* data = nullptr;  // of the first tensor
  std::unique_ptr<MappedFile>
      file;  // holds the map; null where nothing outside can change the data
  std::atomic_flag reads_ahead;      // ReadAhead was called
  std::unique_ptr<MappedFile> copy;  // holds a private copy
  AlignedBytes aligned;              // the copy of memory that was not aligned
  std::shared_ptr<const void> owner;  // of memory that was

  void SetHeader(std::string_view head);
  void SetData(const uint8_t* first);
};

// `head` has passed CheckPrefix.
void GlintFile::Impl::SetHeader(std::string_view head) {
  data_offset = head.size();
  header = ParseHeader(CheckHead(head, path), path);
  for (const TensorEntry& entry : header.tensors) {
    if (entry.xxh3 != 0) hash = StoredChecksum(head);
  }
  const uint64_t available = bytes - data_offset;
  if (header.data_bytes == available) return;
  if (header.data_bytes < available) {
    throw Error(path + ": the last tensor ends at byte " +
                std::to_string(data_offset + header.data_bytes) + ", the file goes on to byte " +
                std::to_string(bytes));
  }
  for (const TensorEntry& entry : header.tensors) {
    const uint64_t size = RoundUp(entry.tensor.bytes, kTensorAlignment);
    if (entry.offset <= available && size <= available - entry.offset) continue;
    throw Error(path + ": truncated: tensor " + Quoted(entry.tensor.name) + " ends at byte " +
                std::to_string(data_offset + entry.offset + size) +
                " with its padding, the file has " + std::to_string(bytes) + " bytes");
  }
}

void GlintFile::Impl::SetData(const uint8_t* first) {
  data = first;
  tensors.reserve(header.tensors.size());
  for (const TensorEntry& entry : header.tensors) {
    tensors.push_back(entry.tensor);
    tensors.back().data = data + entry.offset;
  }
  by_name.resize(tensors.size());
  for (size_t i = 0; i < by_name.size(); ++i) by_name[i] = i;
  std::sort(by_name.begin(), by_name.end(),
            [this](size_t a, size_t b) { return tensors[a].name < tensors[b].name; });
}

GlintFile::GlintFile() : impl_(std::make_unique<Impl>()) {}
GlintFile::~GlintFile() = default;

std::unique_ptr<GlintFile> GlintFile::Open(const std::string& path, LoadMode mode) {
  LoadOptions options;
  options.mode = mode;
  return Open(path, options);
}

std::unique_ptr<GlintFile> GlintFile::Open(const std::string& path, const LoadOptions& options) {
  return OpenMapped(std::make_unique<MappedFile>(path), path, options);
}

std::unique_ptr<GlintFile> GlintFile::OpenDescriptor(int descriptor, const std::string& name,
                                                     const LoadOptions& options) {
  return OpenMapped(std::make_unique<MappedFile>(descriptor, name), name, options);
}

std::unique_ptr<GlintFile> GlintFile::OpenMapped(std::unique_ptr<MappedFile> file,
                                                 const std::string& path,
                                                 const LoadOptions& options) {
  std::unique_ptr<GlintFile> glint(new GlintFile);
  Impl& impl = *glint->impl_;
  impl.path = path;
  impl.bytes = file->bytes();
  // The head is read, not mapped: what was checked cannot change between check and use, and a file
  // that somebody truncates meanwhile is an error instead of a signal.
  std::string head(std::min(impl.bytes, kPrefixBytes), '\0');
  file->ReadAt(0, head.data(), head.size());
  const uint64_t head_bytes = CheckPrefix(head, impl.bytes, path);
  head.resize(head_bytes);
  file->ReadAt(kPrefixBytes, head.data() + kPrefixBytes, head_bytes - kPrefixBytes);
  impl.SetHeader(head);
  const double copied = options.mode == LoadMode::kMap ? 0 : options.verify ? 0.5 : 1;
  const auto progress = ProgressPart(path, options, 0, copied);
  if (progress) progress(0);
  if (options.mode == LoadMode::kMap) {
    impl.SetData(file->Map() + head_bytes);
    impl.file = std::move(file);
  } else {
    CheckCopyFits(path, impl.bytes, options.copy_limit);
    impl.SetData(file->Copy(head_bytes, progress));
    impl.copy = std::move(file);
  }
  if (options.verify) glint->Verify(ProgressPart(path, options, copied, 1));
  return glint;
}

std::unique_ptr<GlintFile> GlintFile::FromMemory(const void* data, uint64_t size,
                                                 const std::string& name,
                                                 std::shared_ptr<const void> owner,
                                                 const LoadOptions& options) {
  std::unique_ptr<GlintFile> glint(new GlintFile);
  Impl& impl = *glint->impl_;
  impl.owner = std::move(owner);
  impl.path = name;
  impl.bytes = size;
  const std::string_view file(static_cast<const char*>(data), size);
  const uint64_t head_bytes = CheckPrefix(file.substr(0, kPrefixBytes), size, name);
  impl.SetHeader(file.substr(0, head_bytes));
  const uint8_t* first = static_cast<const uint8_t*>(data) + head_bytes;
  if (reinterpret_cast<uintptr_t>(first) % kTensorAlignment != 0) {
    impl.aligned = AllocateAligned(impl.header.data_bytes);
    std::memcpy(impl.aligned.get(), first, impl.header.data_bytes);
    first = impl.aligned.get();
  }
  impl.SetData(first);
  if (options.verify && impl.hash == 0) throw Error(name + ": has no checksums to compare");
  if (options.verify) glint->Verify(ProgressPart(name, options, 0, 1));
  return glint;
}

const std::string& GlintFile::path() const {
  return impl_->path;
}
uint64_t GlintFile::bytes() const {
  return impl_->bytes;
}
uint64_t GlintFile::data_offset() const {
  return impl_->data_offset;
}
uint64_t GlintFile::Hash() const {
  return impl_->hash;
}
const ModelHeader& GlintFile::header() const {
  return impl_->header.model;
}
const std::vector<Tensor>& GlintFile::tensors() const {
  return impl_->tensors;
}

const std::string& GlintFile::TiedTo(size_t index) const {
  return impl_->header.tensors[index].tied_to;
}

const Tensor* GlintFile::Find(std::string_view name) const {
  const std::vector<Tensor>& tensors = impl_->tensors;
  const auto found = std::lower_bound(
      impl_->by_name.begin(), impl_->by_name.end(), name,
      [&tensors](size_t index, std::string_view key) { return tensors[index].name < key; });
  if (found == impl_->by_name.end() || tensors[*found].name != name) return nullptr;
  return &tensors[*found];
}

const Graph* GlintFile::FindGraph(std::string_view name) const {
  for (const Graph& graph : impl_->header.model.graphs) {
    if (graph.name == name) return &graph;
  }
  return nullptr;
}

void GlintFile::Verify(const std::function<void(double)>& progress) const {
  const std::string changed = path() + ": the file changed while it was open";
  if (!Unchanged()) throw Error(changed);
  const uint64_t total = impl_->header.data_bytes;
  for (const TensorEntry& entry : impl_->header.tensors) {
    if (!entry.tied_to.empty()) continue;
    const std::string where = path() + ": tensor " + Quoted(entry.tensor.name);
    const uint8_t* data = impl_->data + entry.offset;
    const uint64_t bytes = entry.tensor.bytes;
    Checksum checksum;
    for (uint64_t at = 0; at < bytes; at += kVerifyStep) {
      checksum.Update(data + at, std::min(kVerifyStep, bytes - at));
      if (progress) progress(static_cast<double>(entry.offset + at) / static_cast<double>(total));
    }
    if (checksum.Digest() != entry.xxh3) {
      if (!Unchanged()) throw Error(changed);
      throw Error(where + ": damaged: its checksum is " + ChecksumText(checksum.Digest()) +
                  ", the header says " + ChecksumText(entry.xxh3));
    }
    for (uint64_t at = bytes; at < RoundUp(bytes, kTensorAlignment); ++at) {
      if (data[at] == 0) continue;
      throw Error(where + ": damaged: the padding after it is not zero at byte " +
                  std::to_string(impl_->data_offset + entry.offset + at));
    }
  }
  if (!Unchanged()) throw Error(changed);
  if (progress) progress(1.0);
}

void GlintFile::ReadAhead() const {
  if (impl_->file && !impl_->reads_ahead.test_and_set()) impl_->file->ReadAhead();
}

bool GlintFile::Unchanged() const {
  return !impl_->file || impl_->file->Unchanged();
}

}  // namespace glint
