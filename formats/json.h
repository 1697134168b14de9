#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lib/error.h"

namespace glint {

// Parses JSON text from a stranger: UTF-8 checked, at most 64 levels deep, no duplicate keys, nothing
// after the value. `where` ("model.glint: header") begins each message. Throws Error.
nlohmann::json ParseJson(std::string_view text, const std::string& where);

// Empties a value from its leaves up. nlohmann's own destructor asks for memory where values lie in values,
// and ends the process where there is none: a value that strangers or a model brought is taken apart
// before it is destroyed. As deep in calls as the value is nested.
template <class Json>
void TakeApart(Json* value) noexcept {
  if (!value->is_structured()) return;
  for (Json& item : *value) TakeApart(&item);
  value->clear();
}

// Takes a value apart at the end of a scope.
template <class Json>
class JsonScope {
 public:
  explicit JsonScope(Json* value) : value_(value) {}
  ~JsonScope() { TakeApart(value_); }
  JsonScope(const JsonScope&) = delete;

 private:
  Json* value_;
};

// Typed members of an object; each throws Error naming `where` and the key if it is missing, of another
// type, or out of [low, high].
uint64_t GetUint(const nlohmann::json& object, const char* key, uint64_t low, uint64_t high,
                 const std::string& where);
double GetNumber(const nlohmann::json& object, const char* key, const std::string& where);
std::string GetString(const nlohmann::json& object, const char* key, const std::string& where);
const nlohmann::json& GetObject(const nlohmann::json& object, const char* key,
                                const std::string& where);
const nlohmann::json& GetArray(const nlohmann::json& object, const char* key,
                               const std::string& where);

}  // namespace glint
