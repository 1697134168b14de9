#include "formats/architectures/architecture.h"

#include "lib/error.h"

namespace glint {

// The table: a row for each file.
#define GLINT_ARCHITECTURES(ROW) \
  ROW(kChatGlm)                  \
  ROW(kChatGlm2)                 \
  ROW(kGlm)                      \
  ROW(kLlama)                    \
  ROW(kMistral)                  \
  ROW(kQwen2)                    \
  ROW(kQwen3)                    \
  ROW(kPhi3)                     \
  ROW(kGemma2)                   \
  ROW(kMixtral)                  \
  ROW(kQwen2Moe)                 \
  ROW(kGranite)

#define GLINT_DECLARE(name) extern const Architecture name;
GLINT_ARCHITECTURES(GLINT_DECLARE)
#undef GLINT_DECLARE

namespace {

#define GLINT_ADDRESS(name) &name,
const Architecture* const kArchitectures[] = {GLINT_ARCHITECTURES(GLINT_ADDRESS)};
#undef GLINT_ADDRESS

void AddName(const char* name, std::string* names) {
  *names += std::string(names->empty() ? "" : ", ") + name;
}

}  // namespace

const Architecture& FindArchitecture(const nlohmann::json& hf_config, const std::string& where) {
  if (hf_config.is_null()) {
    throw Error(where + ": there is no config.json, so the architecture is not known");
  }
  std::string known;
  for (const Architecture* row : kArchitectures) {
    if (row->accepts(hf_config)) return *row;
    AddName(row->name, &known);
  }
  std::string found = "none";
  if (hf_config.contains("model_type") && hf_config["model_type"].is_string()) {
    found = Quoted(hf_config["model_type"].get<std::string>());
  }
  throw Error(where + ": config.json: model_type " + found +
              " with these options is not supported; known architectures: " + known);
}

std::span<const Architecture* const> Architectures() { return kArchitectures; }

nlohmann::json PublishedConfig(const std::string& name) {
  std::string known;
  for (const Architecture* row : kArchitectures) {
    for (const PublishedShape& shape : row->published) {
      if (name == shape.name) return nlohmann::json::parse(shape.config);
      AddName(shape.name, &known);
    }
  }
  throw Error("unknown shape " + Quoted(name) + "; known: " + known);
}

}  // namespace glint
