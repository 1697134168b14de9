#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace glint::test {

// A member, or `value` if it is absent or null.
template <class T>
T Setting(const nlohmann::json& config, const char* key, T value) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? value : found->get<T>();
}

inline bool Has(const nlohmann::json& config, const char* key) {
  return config.contains(key) && !config[key].is_null();
}

inline std::string ModelType(const nlohmann::json& config) {
  return config.at("model_type").get<std::string>();
}

}  // namespace glint::test
