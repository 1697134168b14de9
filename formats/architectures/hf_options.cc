#include "formats/architectures/hf_options.h"

#include "formats/json.h"
#include "lib/error.h"

namespace glint {

using Json = nlohmann::json;

bool HasOption(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && !found->is_null();
}

void RequireOption(const Json& config, const char* key, const Json& value,
                   const std::string& where) {
  if (!HasOption(config, key) || config.at(key) == value) return;
  throw Error(where + ": " + Quoted(key) + ": expected " + value.dump() + ", found " +
              Quoted(config.at(key).dump()));
}

uint64_t UintOr(const Json& config, const char* key, uint64_t fallback, uint64_t high,
                const std::string& where, uint64_t low) {
  return HasOption(config, key) ? GetUint(config, key, low, high, where) : fallback;
}

double NumberOr(const Json& config, const char* key, double fallback, const std::string& where) {
  return HasOption(config, key) ? GetNumber(config, key, where) : fallback;
}

bool BoolOr(const Json& config, const char* key, bool fallback, const std::string& where) {
  if (!HasOption(config, key)) return fallback;
  if (config.at(key).is_boolean()) return config.at(key).get<bool>();
  throw Error(where + ": " + Quoted(key) + ": expected true or false, found " +
              Quoted(config.at(key).dump()));
}

}  // namespace glint
