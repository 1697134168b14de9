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
