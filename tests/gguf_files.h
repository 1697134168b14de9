#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tests/import_files.h"

// Writers of small GGUF files, honest and lying. They work from the format's description
// (ggml/docs/gguf.md), not from the reader's code, and check nothing.
namespace glint::test {

inline std::string GgufString(const std::string& text) {
  return U64(text.size()) + text;
}
inline std::string GgufPairOf(const std::string& key, uint32_t type, const std::string& value) {
  return GgufString(key) + U32(type) + value;
}
inline std::string GgufText(const std::string& key, const std::string& text) {
  return GgufPairOf(key, 8, GgufString(text));
}
inline std::string GgufU32(const std::string& key, uint32_t value) {
  return GgufPairOf(key, 4, U32(value));
}
inline std::string GgufF32(const std::string& key, float value) {
  return GgufPairOf(key, 6, Bytes(value));
}
inline std::string GgufBool(const std::string& key, bool value) {
  return GgufPairOf(key, 7, std::string(1, value ? '\1' : '\0'));
}
// The value of an array: type 9.
inline std::string GgufArray(uint32_t type, uint64_t count, const std::string& items) {
  return U32(type) + U64(count) + items;
}

inline std::string GgufTexts(const std::string& key, const std::vector<std::string>& texts) {
  std::string items;
  for (const std::string& text : texts) items += GgufString(text);
  return GgufPairOf(key, 9, GgufArray(8, texts.size(), items));
}
inline std::string GgufF32s(const std::string& key, const std::vector<float>& values) {
  return GgufPairOf(key, 9, GgufArray(6, values.size(), Floats(values)));
}
inline std::string GgufI32s(const std::string& key, const std::vector<int32_t>& values) {
  std::string items;
  for (const int32_t value : values) items += Bytes(value);
  return GgufPairOf(key, 9, GgufArray(5, values.size(), items));
}

// An entry of the tensor table; `dims` innermost first, `offset` from the data's first byte.
inline std::string GgufEntry(const std::string& name, const std::vector<uint64_t>& dims,
                             uint32_t type, uint64_t offset) {
  std::string entry = GgufString(name) + U32(dims.size());
  for (const uint64_t dim : dims) entry += U64(dim);
  return entry + U32(type) + U64(offset);
}

struct GgufParts {
  std::vector<std::string> pairs{}, tensors{};
  std::string data{};
  uint32_t version = 3;
  uint64_t alignment = 32;
  uint64_t pairs_change = 0, tensors_change = 0;  // added to the counts
};

inline std::string GgufBytes(const GgufParts& parts) {
  std::string file = "GGUF" + U32(parts.version) +
                     U64(parts.tensors.size() + parts.tensors_change) +
                     U64(parts.pairs.size() + parts.pairs_change);
  for (const std::string& pair : parts.pairs) file += pair;
  for (const std::string& tensor : parts.tensors) file += tensor;
  if (parts.tensors.empty() && parts.data.empty()) return file;
  while (file.size() % parts.alignment != 0) file += '\0';
  return file + parts.data;
}

}  // namespace glint::test
