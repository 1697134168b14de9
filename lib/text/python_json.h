#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace glint {

// What Python's json.dumps(value, ensure_ascii=False, indent=indent) writes; indent < 0: None, all
// in one line with ", " and ": ". Text that is not UTF-8 gets U+FFFD. Throws Error if `value` is
// nested deeper than 100 levels.
std::string PythonJson(const nlohmann::ordered_json& value, int indent);

}  // namespace glint
