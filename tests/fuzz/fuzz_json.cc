// JSON as every header and configuration is read: what is accepted reads back from its own text.
#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "tests/fuzz/target.h"

namespace glint::fuzz {

void FuzzJson(Input input) {
  const nlohmann::json value = ParseJson(Text(input), "x.json");
  Require(ParseJson(value.dump(), "dump") == value, "JSON reads back");
}

}  // namespace glint::fuzz
