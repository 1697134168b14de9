#include "formats/import/gguf_metadata.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/text/utf8.h"

namespace glint {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxKeyBytes = 65535;  // the format's own limit
// More than any file has; a pair takes more memory here than in the file.
constexpr uint64_t kMaxPairs = 65536;
constexpr uint64_t kMinPairBytes = 8 + 4 + 1;  // length of the key, type, value

template <class T>
json NumberAt(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

json BoolAt(const uint8_t* from) {
  return *from != 0;
}

struct TypeRow {
  const char* name;
  uint64_t bytes;  // of one in the file; 0 where that varies
  json (*at)(const uint8_t* from);
  bool is_integer;
};

// In the order of GgufType.
constexpr TypeRow kTypes[] = {
    {"uint8", 1, NumberAt<uint8_t>, true},   {"int8", 1, NumberAt<int8_t>, true},
    {"uint16", 2, NumberAt<uint16_t>, true}, {"int16", 2, NumberAt<int16_t>, true},
    {"uint32", 4, NumberAt<uint32_t>, true}, {"int32", 4, NumberAt<int32_t>, true},
    {"float32", 4, NumberAt<float>, false},  {"bool", 1, BoolAt, false},
    {"string", 0, nullptr, false},           {"array", 0, nullptr, false},
    {"uint64", 8, NumberAt<uint64_t>, true}, {"int64", 8, NumberAt<int64_t>, true},
    {"float64", 8, NumberAt<double>, false},
};

const TypeRow& RowOf(GgufType type) {
  return kTypes[static_cast<size_t>(type)];
}

GgufType ReadType(Reader& reader, const char* what) {
  const auto type = reader.Read<uint32_t>(what);
  if (type >= std::size(kTypes)) {
    reader.Fail(std::string(what) + ": expected 0 to " + std::to_string(std::size(kTypes) - 1) +
                ", got " + std::to_string(type));
  }
  return static_cast<GgufType>(type);
}

void ReadStrings(Reader& reader, GgufValue* value) {
  reader.Require(value->count, 8, "strings");
  value->ends.reserve(static_cast<size_t>(value->count));
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto bytes = reader.Read<uint64_t>("length of a string");
    reader.Require(bytes, 1, "string");
    const size_t begin = value->bytes.size();
    value->bytes.resize(begin + static_cast<size_t>(bytes));
    reader.ReadBytes(value->bytes.data() + begin, bytes, "string");
    value->ends.push_back(value->bytes.size());
  }
}

void ReadNumbers(Reader& reader, GgufValue* value) {
  const uint64_t item_bytes = RowOf(value->type).bytes;
  reader.Require(value->count, item_bytes, "values");
  value->bytes.resize(static_cast<size_t>(value->count * item_bytes));
  reader.ReadBytes(value->bytes.data(), value->bytes.size(), "values");
  if (value->type != GgufType::kBool) return;
  const auto wrong =
      std::find_if(value->bytes.begin(), value->bytes.end(), [](uint8_t b) { return b > 1; });
  if (wrong == value->bytes.end()) return;
  reader.Fail("expected a bool, 0 or 1, got " + std::to_string(*wrong));
}

// A value, or an array of them. Nobody writes arrays of arrays, and llama.cpp reads none.
GgufValue ReadValue(Reader& reader) {
  GgufValue value;
  value.type = ReadType(reader, "type of a value");
  if (value.type == GgufType::kArray) {
    value.is_array = true;
    value.type = ReadType(reader, "type of an array's items");
    if (value.type == GgufType::kArray) reader.Fail("arrays within an array are not supported");
    value.count = reader.Read<uint64_t>("length of an array");
  }
  if (value.type == GgufType::kString) {
    ReadStrings(reader, &value);
  } else {
    ReadNumbers(reader, &value);
  }
  return value;
}

std::string ReadKey(Reader& reader) {
  const std::string key = reader.ReadString(kMaxKeyBytes, "key");
  const char* reason = nullptr;
  if (key.empty()) reason = "is empty";
  if (!IsUtf8(key)) reason = "is not UTF-8";
  if (key.find('\0') != std::string::npos) reason = "holds a NUL";
  // Of what is no key a little says enough: escaped it is four times as long.
  if (reason != nullptr) reader.Fail("the key " + Quoted(key.substr(0, 40)) + " " + reason);
  return key;
}

}  // namespace

const char* Name(GgufType type) {
  return RowOf(type).name;
}

std::string_view GgufValue::String(uint64_t i) const {
  const uint64_t begin = i == 0 ? 0 : ends.at(static_cast<size_t>(i) - 1);
  const uint64_t end = ends.at(static_cast<size_t>(i));
  return {reinterpret_cast<const char*>(bytes.data()) + begin, static_cast<size_t>(end - begin)};
}

json GgufValue::Item(uint64_t i) const {
  if (type == GgufType::kString) return std::string(String(i));
  return RowOf(type).at(bytes.data() + static_cast<size_t>(i * RowOf(type).bytes));
}

std::string GgufValue::TypeName() const {
  if (!is_array) return Name(type);
  return "array of " + std::to_string(count) + " " + Name(type) + (count == 1 ? "" : "s");
}

GgufMetadata GgufMetadata::Read(Reader& reader, uint64_t count, const std::string& file) {
  if (count > kMaxPairs) {
    reader.Fail("expected at most " + std::to_string(kMaxPairs) + " key-value pairs, got " +
                std::to_string(count));
  }
  reader.Require(count, kMinPairBytes, "key-value pairs");
  GgufMetadata metadata;
  metadata.file_ = file;
  for (uint64_t i = 0; i < count; ++i) {
    reader.SetWhere(file + ": key " + std::to_string(i) + " of " + std::to_string(count));
    std::string key = ReadKey(reader);
    reader.SetWhere(file + ": key " + Quoted(key));
    metadata.pairs_.push_back({std::move(key), ReadValue(reader)});
  }
  metadata.CheckUnique();
  return metadata;
}

void GgufMetadata::CheckUnique() const {
  std::vector<std::string_view> keys;
  for (const GgufPair& pair : pairs_) keys.push_back(pair.key);
  std::sort(keys.begin(), keys.end());
  const auto twin = std::adjacent_find(keys.begin(), keys.end());
  if (twin != keys.end()) throw Error(file_ + ": the key " + Quoted(*twin) + " is there twice");
}

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto found = std::find_if(pairs_.begin(), pairs_.end(),
                                  [&](const GgufPair& pair) { return pair.key == key; });
  return found == pairs_.end() ? nullptr : &found->value;
}

void GgufMetadata::FailType(std::string_view key, const std::string& expected,
                            const std::string& found) const {
  throw Error(file_ + ": key " + Quoted(key) + ": expected " + expected + ", got " + found);
}

const GgufValue& GgufMetadata::Get(std::string_view key, const std::string& expected) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) FailType(key, expected, "none: the file does not have it");
  return *value;
}

uint64_t GgufMetadata::Uint(std::string_view key, uint64_t low, uint64_t high) const {
  const std::string expected =
      "an integer from " + std::to_string(low) + " to " + std::to_string(high);
  const GgufValue& value = Get(key, expected);
  if (value.is_array || !RowOf(value.type).is_integer) FailType(key, expected, value.TypeName());
  const json number = value.Item();
  const bool is_negative = !number.is_number_unsigned() && number.get<int64_t>() < 0;
  if (is_negative || number.get<uint64_t>() < low || number.get<uint64_t>() > high) {
    FailType(key, expected, number.dump());
  }
  return number.get<uint64_t>();
}

double GgufMetadata::Number(std::string_view key) const {
  const GgufValue& value = Get(key, "a number");
  if (value.is_array || RowOf(value.type).bytes == 0 || value.type == GgufType::kBool) {
    FailType(key, "a number", value.TypeName());
  }
  return value.Item().get<double>();
}

std::string_view GgufMetadata::String(std::string_view key) const {
  const GgufValue& value = Get(key, "a string");
  if (value.is_array || value.type != GgufType::kString) {
    FailType(key, "a string", value.TypeName());
  }
  return value.String();
}

const GgufValue& GgufMetadata::Array(std::string_view key, GgufType type) const {
  const std::string expected = std::string("an array of ") + Name(type) + "s";
  const GgufValue& value = Get(key, expected);
  if (!value.is_array || value.type != type) FailType(key, expected, value.TypeName());
  return value;
}

}  // namespace glint
