#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/reader.h"

namespace glint {

// In the order of the numbers in the file: enum gguf_metadata_value_type of ggml/docs/gguf.md.
enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};
const char* Name(GgufType type);  // "uint8", ..., "string"

// One value, or an array of `count` values of one type.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of each item
  bool is_array = false;
  uint64_t count = 1;
  std::vector<uint8_t> bytes{};  // numbers as they lie in the file; strings one after another
  std::vector<uint64_t> ends{};  // of strings: the end of each in `bytes`

  // Item i < count. A string is as the file has it: perhaps not UTF-8.
  std::string_view String(uint64_t i = 0) const;  // of strings only
  nlohmann::json Item(uint64_t i = 0) const;      // of any type
  std::string TypeName() const;                   // "uint32", "array of 3 strings"
};

struct GgufPair {
  std::string key;
  GgufValue value;
};

// The key-value pairs of a file, in its order. The getters throw Error naming file, key, what was
// expected and what was found. Thread-safe for reading.
class GgufMetadata {
 public:
  // The next `count` pairs of the reader. Throws Error.
  static GgufMetadata Read(Reader& reader, uint64_t count, const std::string& file);

  const std::vector<GgufPair>& pairs() const { return pairs_; }
  const GgufValue* Find(std::string_view key) const;  // null if absent

  uint64_t Uint(std::string_view key, uint64_t low, uint64_t high) const;  // any integer type
  double Number(std::string_view key) const;                               // integer or float
  std::string_view String(std::string_view key) const;
  const GgufValue& Array(std::string_view key, GgufType type) const;

 private:
  const GgufValue& Get(std::string_view key, const std::string& expected) const;
  [[noreturn]] void FailType(std::string_view key, const std::string& expected,
                             const std::string& found) const;
  void CheckUnique() const;

  std::string file_;
  std::vector<GgufPair> pairs_;
};

}  // namespace glint
