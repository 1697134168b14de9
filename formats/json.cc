#include "formats/json.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace glint {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 64;
// Twice what the largest tokenizer.json holds. A value takes up to 100 bytes of memory and may take
// only two of the text.
constexpr size_t kMaxValues = size_t{1} << 22;
constexpr size_t kMaxReason = 200;  // bytes of the parser's own words that a message may hold

// Builds the value while it checks what nlohmann's own builder lets through: a repeated key (the
// last would win silently) and a depth that only an attack needs.
class CheckedBuilder {
 public:
  CheckedBuilder(const std::string& where, json* root) : where_(where), root_(root) {}

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(int64_t value) { return Add(value); }
  bool number_unsigned(uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string&) { return Add(value); }
  bool string(std::string& value) { return Add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }  // text cannot hold one
  bool start_object(size_t) { return Open(json::object()); }
  bool start_array(size_t) { return Open(json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& key) {
    const auto [place, is_new] = open_.back()->get_ref<json::object_t&>().emplace(key, nullptr);
    if (!is_new) throw Error(where_ + ": the key " + Quoted(key) + " appears twice in one object");
    member_ = &place->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception& error) {
    // The parser's message starts with its own codes and may end with the whole offending token.
    std::string reason = error.what();
    reason.resize(std::min(reason.size(), reason.find("; last read:")));
    for (const char* prefix : {"] ", "column "}) {
      const size_t at = reason.find(prefix);
      if (at != std::string::npos) reason.erase(0, at + std::string_view(prefix).size());
    }
    const size_t words = reason.find(": ");
    if (words != std::string::npos && words < 20) reason.erase(0, words + 2);
    reason.resize(std::min(reason.size(), kMaxReason));
    throw Error(where_ + ": not valid JSON at byte " + std::to_string(position) + ": " + reason);
  }

 private:
  template <class T>
  json* Place(T&& value) {
    if (++values_ > kMaxValues) {
      throw Error(where_ + ": JSON with more than " + std::to_string(kMaxValues) + " values");
    }
    if (open_.empty()) {
      *root_ = std::forward<T>(value);
      return root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<json::array_t&>();
      array.emplace_back(std::forward<T>(value));
      return &array.back();
    }
    *member_ = std::forward<T>(value);
    return member_;
  }

  template <class T>
  bool Add(T&& value) {
    Place(std::forward<T>(value));
    return true;
  }

  bool Open(json container) {
    if (open_.size() == kMaxDepth) {
      throw Error(where_ + ": JSON nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  json* root_;
  size_t values_ = 0;
  json* member_ = nullptr;  // the value of the key read last
  // The open containers. A container does not grow while one inside it is open, so the pointers
  // hold.
  std::vector<json*> open_;
};

const json& Member(const json& object, const char* key, const std::string& where) {
  if (!object.is_object()) {
    throw Error(where + ": expected an object with the key " + Quoted(key) + ", got " +
                object.type_name());
  }
  const auto found = object.find(key);
  if (found == object.end()) throw Error(where + ": the key " + Quoted(key) + " is missing");
  return *found;
}

[[noreturn]] void FailType(const char* key, const std::string& where, const char* expected,
                           const json& found) {
  std::string what = found.type_name();
  if (found.is_number()) what += " " + found.dump();
  throw Error(where + ": " + Quoted(key) + ": expected " + expected + ", got " + what);
}

}  // namespace

json ParseJson(std::string_view text, const std::string& where) {
  // nlohmann's lexer takes a NUL byte for the end of the text and skips a byte order mark.
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) {
    throw Error(where + ": not valid JSON at byte " + std::to_string(nul) + ": a NUL byte");
  }
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    throw Error(where + ": not valid JSON at byte 0: a byte order mark");
  }
  json root;
  try {
    CheckedBuilder builder(where, &root);
    if (json::sax_parse(text.begin(), text.end(), &builder)) return root;
    throw Error(where + ": not valid JSON");
  } catch (...) {
    TakeApart(&root);
    throw;
  }
}

uint64_t GetUint(const json& object, const char* key, uint64_t low, uint64_t high,
                 const std::string& where) {
  const json& value = Member(object, key, where);
  // A float such as 2.0 is refused: past 2^53 it would not be the number that was written.
  const bool fits =
      value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
  if (fits) {
    const uint64_t number = value.get<uint64_t>();
    if (number >= low && number <= high) return number;
  }
  const std::string range =
      "an integer from " + std::to_string(low) + " to " + std::to_string(high);
  FailType(key, where, range.c_str(), value);
}

double GetNumber(const json& object, const char* key, const std::string& where) {
  const json& value = Member(object, key, where);
  if (!value.is_number()) FailType(key, where, "a number", value);
  return value.get<double>();
}

std::string GetString(const json& object, const char* key, const std::string& where) {
  const json& value = Member(object, key, where);
  if (!value.is_string()) FailType(key, where, "a string", value);
  return value.get<std::string>();
}

const json& GetObject(const json& object, const char* key, const std::string& where) {
  const json& value = Member(object, key, where);
  if (!value.is_object()) FailType(key, where, "an object", value);
  return value;
}

const json& GetArray(const json& object, const char* key, const std::string& where) {
  const json& value = Member(object, key, where);
  if (!value.is_array()) FailType(key, where, "an array", value);
  return value;
}

}  // namespace glint
