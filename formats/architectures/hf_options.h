#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

// Options of a Hugging Face config.json. An option that is null counts as absent. `where` begins
// each message.
namespace glint {

// Whether the option is there.
bool HasOption(const nlohmann::json& config, const char* key);

// Throws Error unless the option has this value, or is absent.
void RequireOption(const nlohmann::json& config, const char* key, const nlohmann::json& value,
                   const std::string& where);

// The option, or `fallback` if it is absent. Throws Error if it is of another type, or outside
// [low, high].
uint64_t UintOr(const nlohmann::json& config, const char* key, uint64_t fallback, uint64_t high,
                const std::string& where, uint64_t low = 0);
double NumberOr(const nlohmann::json& config, const char* key, double fallback,
                const std::string& where);
bool BoolOr(const nlohmann::json& config, const char* key, bool fallback, const std::string& where);

}  // namespace glint
