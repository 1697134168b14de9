#include "formats/import/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "formats/import/source_tensor.h"
#include "formats/json.h"
#include "lib/checked_math.h"

namespace glint {
namespace {

using nlohmann::json;

// The format's own limit. A model of 100,000 tensors needs a tenth of it.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kLengthBytes = 8;

uint64_t UintItem(const json& array, size_t index, const std::string& where, const char* field) {
  const json& item = array[index];
  if (!item.is_number_unsigned()) {
    throw Error(where + ": '" + field + "': expected non-negative integers, got " +
                (item.is_number() ? item.dump() : item.type_name()));
  }
  return item.get<uint64_t>();
}

// One member of the header. Offsets come relative to the data and leave relative to the file.
SourceTensor ParseTensor(const std::string& name, const json& entry, const std::string& path,
                         uint64_t data_begin, uint64_t data_bytes) {
  CheckTensorName(name, path);
  const std::string where = path + ": tensor " + Quoted(name);
  SourceTensor tensor;
  tensor.name = name;
  const std::string type = GetString(entry, "dtype", where);
  if (!ParseSourceType(type, &tensor.type)) {
    throw Error(where + ": the dtype " + Quoted(type) + " is not supported");
  }
  const json& shape = GetArray(entry, "shape", where);
  if (shape.size() > kMaxSourceRank) {
    throw Error(where + ": expected at most " + std::to_string(kMaxSourceRank) +
                " dimensions, got " + std::to_string(shape.size()));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    tensor.shape.push_back(UintItem(shape, i, where, "shape"));
  }
  const json& offsets = GetArray(entry, "data_offsets", where);
  if (offsets.size() != 2) {
    throw Error(where + ": 'data_offsets': expected 2 numbers, got " +
                std::to_string(offsets.size()));
  }
  const uint64_t begin = UintItem(offsets, 0, where, "data_offsets");
  const uint64_t end = UintItem(offsets, 1, where, "data_offsets");
  if (begin > end || end > data_bytes) {
    throw Error(where + ": the bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                " are not within the " + std::to_string(data_bytes) +
                " bytes of data: is the file cut off?");
  }
  uint64_t bytes = 0;
  if (!CountElements(tensor.shape, &tensor.elements) ||
      !CheckedMul(tensor.elements, ElementBytes(tensor.type), &bytes) || bytes != end - begin) {
    throw Error(where + ": its " + type + " shape does not take the " +
                std::to_string(end - begin) + " bytes that it is given");
  }
  tensor.offset = data_begin + begin;
  return tensor;
}

void CheckMetadata(const json& metadata, const std::string& path) {
  if (!metadata.is_object()) {
    throw Error(path + ": '__metadata__': expected an object, got " + metadata.type_name());
  }
  for (const auto& [key, value] : metadata.items()) {
    if (value.is_string()) continue;
    throw Error(path + ": '__metadata__': " + Quoted(key) + ": expected a string, got " +
                value.type_name());
  }
}

// Every byte must belong to one tensor: what else a hole may hide, a reader cannot know, and an
// overlap is how a small file claims to be a large one.
void CheckCoverage(std::vector<SourceTensor>* tensors, const std::string& path, uint64_t data_begin,
                   uint64_t file_bytes) {
  const auto bytes = [](const SourceTensor& t) { return t.elements * ElementBytes(t.type); };
  std::sort(tensors->begin(), tensors->end(), [&](const auto& a, const auto& b) {
    return a.offset != b.offset ? a.offset < b.offset : bytes(a) < bytes(b);
  });
  uint64_t covered = data_begin;
  for (const SourceTensor& tensor : *tensors) {
    if (tensor.offset != covered) {
      throw Error(path + ": tensor " + Quoted(tensor.name) + ": its data begins at byte " +
                  std::to_string(tensor.offset) + ", expected byte " + std::to_string(covered) +
                  (tensor.offset < covered ? ": it overlaps the previous tensor"
                                           : ": there is a hole before it"));
    }
    covered += bytes(tensor);
  }
  if (covered != file_bytes) {
    throw Error(path + ": the tensors end at byte " + std::to_string(covered) +
                ", but the file has " + std::to_string(file_bytes) + " bytes");
  }
}

[[noreturn]] void FailHeader(const InputFile& file, const std::string& reason) {
  const std::string kind = DescribeKind(file);
  throw Error(file.path() +
              ": not a safetensors file: " + (kind.empty() ? reason : "this looks like " + kind));
}

std::string ReadHeader(const InputFile& file) {
  if (file.size() < kLengthBytes) {
    FailHeader(file, "expected 8 bytes of header length, got " + std::to_string(file.size()));
  }
  uint64_t header_bytes = 0;
  file.ReadAt(0, &header_bytes, kLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - kLengthBytes) {
    FailHeader(file, "the header length " + std::to_string(header_bytes) + " at byte 0 exceeds " +
                         (header_bytes > kMaxHeaderBytes ? "the format's limit of 100000000"
                                                         : "the file"));
  }
  std::string header(static_cast<size_t>(header_bytes), '\0');
  file.ReadAt(kLengthBytes, header.data(), header_bytes);
  return header;
}

}  // namespace

std::vector<SourceTensor> ReadSafetensors(const InputFile& file) {
  const std::string& path = file.path();
  const std::string text = ReadHeader(file);
  const uint64_t data_begin = kLengthBytes + text.size();
  const json header = ParseJson(text, path + ": header");
  if (!header.is_object()) {
    throw Error(path + ": header: expected a JSON object, got " + header.type_name());
  }
  std::vector<SourceTensor> tensors;
  tensors.reserve(header.size());
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      CheckMetadata(entry, path);
    } else {
      tensors.push_back(ParseTensor(name, entry, path, data_begin, file.size() - data_begin));
    }
  }
  CheckCoverage(&tensors, path, data_begin, file.size());
  return tensors;
}

}  // namespace glint
