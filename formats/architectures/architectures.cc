#include "formats/architectures/architecture.h"

#include "formats/architectures/rows.h"
#include "lib/error.h"
#include "simd/scalar_math.h"

namespace glint {
namespace {

const Architecture* const kArchitectures[] = {&kChatGlm, &kLlama};

struct PublishedShape {
  const char* name;
  const char* const& config;  // config.json, the part that decides the shape
};
const PublishedShape kPublished[] = {{"chatglm-6b", kChatGlm6bConfig},
                                     {"llama-7b", kLlama7bConfig}};

}  // namespace

const Architecture& FindArchitecture(const nlohmann::json& hf_config, const std::string& where) {
  if (hf_config.is_null()) {
    throw Error(where + ": there is no config.json, so the architecture is not known");
  }
  std::string known;
  for (const Architecture* row : kArchitectures) {
    if (row->accepts(hf_config)) return *row;
    known += std::string(known.empty() ? "" : ", ") + row->name;
  }
  std::string found = "none";
  if (hf_config.contains("model_type") && hf_config["model_type"].is_string()) {
    found = Quoted(hf_config["model_type"].get<std::string>());
  }
  throw Error(where + ": config.json: model_type " + found +
              " with these options is not supported; known architectures: " + known);
}

nlohmann::json PublishedConfig(const std::string& name) {
  std::string known;
  for (const PublishedShape& shape : kPublished) {
    if (name == shape.name) return nlohmann::json::parse(shape.config);
    known += std::string(known.empty() ? "" : ", ") + shape.name;
  }
  throw Error("unknown shape " + Quoted(name) + "; known: " + known);
}

std::vector<float> RotaryFrequencies(double base, uint64_t dim) {
  std::vector<float> frequencies(dim / 2);
  const double log_base = LogD(base);
  for (uint64_t i = 0; i < dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(dim);
    frequencies[i] = static_cast<float>(ExpD(-exponent * log_base));
  }
  return frequencies;
}

}  // namespace glint
