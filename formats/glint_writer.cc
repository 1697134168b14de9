#include "formats/glint_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "formats/checksum.h"
#include "formats/header.h"
#include "formats/output_file.h"
#include "formats/prefix.h"
#include "lib/error.h"

namespace glint {
namespace {

using nlohmann::json;

constexpr uint64_t kReadBack = uint64_t{4} << 20;  // bytes per piece while checksums are computed

std::vector<TensorEntry> EntriesOf(std::vector<TensorPlan> plan) {
  std::vector<TensorEntry> entries(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    entries[i].tensor.name = std::move(plan[i].name);
    entries[i].tensor.dtype = plan[i].dtype;
    entries[i].tensor.offset = plan[i].offset;
    entries[i].tensor.shape = std::move(plan[i].shape);
    entries[i].tied_to = std::move(plan[i].tied_to);
  }
  return entries;
}

void CheckSame(const JsonSection& given, const JsonSection& read,
               const char* section, const std::string& path) {
  const json absent;
  if (!given || given->is_null() || *given == (read ? *read : absent)) return;
  throw Error(path + ": header: '" + section +
              "' cannot be written exactly (a number that is not finite?)");
}

// What the writer is about to write must be what the reader accepts and gives back.
void CheckReadable(const std::string& text, const ModelHeader& header, const std::string& path) {
  if (text.size() > kMaxHeaderBytes) {
    throw Error(path + ": header: at most " + std::to_string(kMaxHeaderBytes) + " bytes, got " +
                std::to_string(text.size()));
  }
  const FileHeader read = ParseHeader(text, path);
  CheckSame(header.metadata, read.model.metadata, "metadata", path);
  CheckSame(header.config, read.model.config, "config", path);
  CheckSame(header.tokenizer, read.model.tokenizer, "tokenizer", path);
  CheckSame(header.prompt, read.model.prompt, "prompt", path);
}

}  // namespace

struct GlintWriter::Impl {
  std::string path;
  ModelHeader header;
  std::vector<TensorEntry> entries;
  uint64_t data_offset = 0;
  uint64_t data_bytes = 0;
  std::shared_ptr<Output> file;

  void LayOutFile(const ModelHeader& model_header, std::vector<TensorPlan> plan);
};

void GlintWriter::Impl::LayOutFile(const ModelHeader& model_header,
                                   std::vector<TensorPlan> plan) {
  header = model_header;
  entries = EntriesOf(std::move(plan));
  data_bytes = LayOut(&entries, path);
  // Checksums are zeros for now; the real ones take as many bytes, so that nothing moves.
  const std::string text = HeaderText(header, entries, path);
  CheckReadable(text, header, path);
  data_offset = RoundUp(kPrefixBytes + text.size(), kDataAlignment);
}

GlintWriter::GlintWriter(const std::string& path, const ModelHeader& header,
                         std::vector<TensorPlan> plan, bool overwrite)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->LayOutFile(header, std::move(plan));
  impl_->file = std::make_shared<OutputFile>(path, overwrite);
  impl_->file->Resize(FileSize());
}

GlintWriter::GlintWriter(std::shared_ptr<Output> output, const std::string& name,
                         const ModelHeader& header, std::vector<TensorPlan> plan)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = name;
  impl_->LayOutFile(header, std::move(plan));
  impl_->file = std::move(output);
  impl_->file->Resize(FileSize());
}

GlintWriter::~GlintWriter() = default;

uint64_t GlintWriter::TensorSize(size_t index) const {
  return impl_->entries.at(index).tensor.bytes;
}

uint64_t GlintWriter::FileSize() const {
  return impl_->data_offset + impl_->data_bytes;
}

void GlintWriter::Write(size_t index, uint64_t offset, const void* data, uint64_t size) {
  if (!impl_->file) throw Error(impl_->path + ": written to after it was finished");
  if (index >= impl_->entries.size()) {
    throw Error(impl_->path + ": there is no tensor " + std::to_string(index) + " in the plan");
  }
  const TensorEntry& entry = impl_->entries[index];
  const std::string where = impl_->path + ": tensor " + Quoted(entry.tensor.name);
  if (!entry.tied_to.empty()) throw Error(where + ": is tied and has no data of its own");
  if (offset > entry.tensor.bytes || size > entry.tensor.bytes - offset) {
    throw Error(where + ": " + std::to_string(size) + " bytes at " + std::to_string(offset) +
                " do not fit into its " + std::to_string(entry.tensor.bytes));
  }
  impl_->file->WriteAt(impl_->data_offset + entry.offset + offset, data, size);
}

uint8_t* GlintWriter::Memory(size_t index) {
  uint8_t* const memory = impl_->file ? impl_->file->Memory() : nullptr;
  return memory ? memory + impl_->data_offset + impl_->entries.at(index).offset : nullptr;
}

void GlintWriter::Finish(const std::function<void(double)>& progress) {
  if (!impl_->file) throw Error(impl_->path + ": finished twice");
  std::vector<char> piece(kReadBack);
  for (TensorEntry& entry : impl_->entries) {
    if (!entry.tied_to.empty() || impl_->file->Memory()) continue;
    Checksum checksum;
    for (uint64_t at = 0; at < entry.tensor.bytes; at += kReadBack) {
      const uint64_t size = std::min(kReadBack, entry.tensor.bytes - at);
      impl_->file->ReadAt(impl_->data_offset + entry.offset + at, piece.data(), size);
      checksum.Update(piece.data(), size);
      const double done = static_cast<double>(entry.offset + at);
      if (progress) progress(done / static_cast<double>(impl_->data_bytes));
    }
    entry.xxh3 = checksum.Digest();
  }
  const std::string head = HeadBytes(HeaderText(impl_->header, impl_->entries, impl_->path));
  if (head.size() != impl_->data_offset) throw Error(impl_->path + ": header: its length changed");
  impl_->file->WriteAt(0, head.data(), head.size());
  impl_->file->Commit();
  impl_->file.reset();
  if (progress) progress(1.0);
}

}  // namespace glint
