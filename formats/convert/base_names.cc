#include "formats/convert/base_names.h"

#include "formats/architectures/architecture.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// A number of a model's configuration, and the options of config.json that say it.
struct ConfigKey {
  const char* ours;
  std::vector<const char*> theirs;
};
const ConfigKey kKeys[] = {
    {"dim", {"hidden_size"}},
    {"n_layers", {"num_hidden_layers", "num_layers"}},
    {"n_heads", {"num_attention_heads"}},
    {"n_kv_heads", {"num_key_value_heads", "multi_query_group_num"}},
    {"head_dim", {"head_dim", "kv_channels"}},
    {"hidden_dim", {"intermediate_size", "inner_hidden_size", "ffn_hidden_size"}},
    {"vocab_size", {"vocab_size", "padded_vocab_size"}},
};

// config.json of a published model with the numbers of this one. What else is in it decides no name
// and no place of a row.
Json Resized(const char* published, const Json& ours) {
  Json config = Json::parse(published);
  for (auto& [key, value] : config.items()) {
    if (key.ends_with("_token_id")) value = 0;  // within any vocabulary
  }
  for (const ConfigKey& key : kKeys) {
    const Json fallback = ours.value("n_heads", Json());
    const Json value =
        ours.value(key.ours, std::string_view(key.ours) == "n_kv_heads" ? fallback : Json());
    if (value.is_null()) continue;
    for (const char* name : key.theirs) {
      if (config.contains(name)) config[name] = value;
    }
  }
  // Options that a published file need not have.
  if (ours.contains("head_dim") && config.contains("num_hidden_layers")) {
    config["head_dim"] = ours["head_dim"];
  }
  return config;
}

ImportPlan PlanLike(const GlintFile& model) {
  const std::string where = model.path() + ": config";
  const Json& config = *model.header().config;
  const std::string wanted = GetString(config, "architecture", where);
  for (const Architecture* row : Architectures()) {
    for (const PublishedShape& shape : row->published) {
      const ImportPlan published = row->plan(Json::parse(shape.config), nullptr, where);
      if (wanted != row->name && published.config.value("architecture", "") != wanted) continue;
      return row->plan(Resized(shape.config, config), nullptr, where);
    }
  }
  throw Error(where + ": architecture " + Quoted(wanted) + " is not known");
}

}  // namespace

std::map<std::string, std::vector<MatrixPart>> MatricesOf(const GlintFile& model) {
  std::map<std::string, std::vector<MatrixPart>> matrices;
  for (const ImportTensor& tensor : PlanLike(model).tensors) {
    if (tensor.role == ImportTensor::Role::kVector) continue;
    uint64_t row = 0;
    for (const ImportSource& source : tensor.sources) {
      std::string name = source.name;
      constexpr std::string_view kEnding = ".weight";
      if (name.ends_with(kEnding)) name.resize(name.size() - kEnding.size());
      matrices[name].push_back(
          {tensor.name, row, source.first_row, source.rows, source.TensorRows(), tensor.shape[1]});
      row += source.rows;
    }
  }
  return matrices;
}

}  // namespace glint
