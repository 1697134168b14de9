#include "formats/convert/peft_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <string_view>

#include "formats/architectures/hf_options.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// Options that say how it was trained or where it came from, and those that are read below. Any
// other that is not empty might change what is computed.
const std::set<std::string> kKnown = {"alpha_pattern",
                                      "arrow_config",
                                      "auto_mapping",
                                      "base_model_name_or_path",
                                      "bias",
                                      "corda_config",
                                      "ensure_weight_tying",
                                      "eva_config",
                                      "exclude_modules",
                                      "fan_in_fan_out",
                                      "inference_mode",
                                      "init_lora_weights",
                                      "layers_pattern",
                                      "layers_to_transform",
                                      "loftq_config",
                                      "lora_alpha",
                                      "lora_dropout",
                                      "megatron_config",
                                      "megatron_core",
                                      "modules_to_save",
                                      "peft_type",
                                      "peft_version",
                                      "qalora_group_size",
                                      "r",
                                      "rank_pattern",
                                      "revision",
                                      "runtime_config",
                                      "target_modules",
                                      "task_type",
                                      "use_dora",
                                      "use_rslora"};

constexpr uint64_t kMaxRank = 1 << 20;

bool IsEmpty(const Json& value) {
  return value.is_null() || value == false || value == "" || value == 0 ||
         (value.is_structured() && value.empty());
}

// PEFT matches a pattern as a regular expression at the end of the module's name. Those that are
// written are names; anything else is refused rather than read in another way.
bool IsPlain(const std::string& pattern) {
  return !pattern.empty() && std::all_of(pattern.begin(), pattern.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.';
  });
}

}  // namespace

PeftConfig::PeftConfig(Json config, std::string where)
    : config_(std::move(config)), where_(std::move(where)) {
  if (!config_.is_object()) throw Error(where_ + ": expected an object");
  RefuseOptions();
  GetUint(config_, "r", 1, kMaxRank, where_);
  GetNumber(config_, "lora_alpha", where_);
  for (const char* option : {"rank_pattern", "alpha_pattern"}) {
    if (!HasOption(config_, option)) continue;
    for (const auto& [pattern, value] : GetObject(config_, option, where_).items()) {
      if (IsPlain(pattern)) continue;
      throw Error(where_ + ": '" + option + "': expected names of modules, found the pattern " +
                  Quoted(pattern));
    }
  }
}

void PeftConfig::RefuseOptions() const {
  const std::string type = GetString(config_, "peft_type", where_);
  if (type != "LORA") {
    throw Error(where_ + ": 'peft_type': expected \"LORA\", found " + Quoted(type));
  }
  RequireOption(config_, "bias", "none", where_);
  RequireOption(config_, "use_dora", false, where_);
  if (config_.contains("modules_to_save") && !IsEmpty(config_["modules_to_save"])) {
    throw Error(where_ + ": 'modules_to_save': whole modules are not supported, found " +
                Quoted(config_["modules_to_save"].dump()));
  }
  // These change the base's weights as training begins, so the base alone is not what was trained
  // on.
  if (HasOption(config_, "init_lora_weights") && config_["init_lora_weights"].is_string()) {
    const std::string init = config_["init_lora_weights"].get<std::string>();
    for (const char* changing : {"pissa", "olora", "corda", "loftq"}) {
      if (!init.starts_with(changing)) continue;
      throw Error(where_ + ": 'init_lora_weights': " + Quoted(init) +
                  " changes the base's weights; PEFT can save an ordinary LoRA instead "
                  "(path_initial_model_for_weight_conversion)");
    }
  }
  for (const auto& [key, value] : config_.items()) {
    if (kKnown.count(key) != 0 || IsEmpty(value)) continue;
    throw Error(where_ + ": option " + Quoted(key) + " is not supported, found " +
                Quoted(value.dump()));
  }
}

const Json* PeftConfig::Pattern(const char* option, const std::string& module) const {
  if (!HasOption(config_, option)) return nullptr;
  for (const auto& [pattern, value] : config_[option].items()) {
    if (module == pattern || module.ends_with("." + pattern)) return &value;
  }
  return nullptr;
}

uint64_t PeftConfig::Rank(const std::string& module) const {
  const Json* own = Pattern("rank_pattern", module);
  if (!own) return config_["r"].get<uint64_t>();
  if (own->is_number_unsigned() && *own != 0 && *own <= kMaxRank) return own->get<uint64_t>();
  throw Error(where_ + ": 'rank_pattern': expected whole numbers from 1 on, found " +
              Quoted(own->dump()));
}

double PeftConfig::Scale(const std::string& module) const {
  const Json* own = Pattern("alpha_pattern", module);
  if (own && !own->is_number()) {
    throw Error(where_ + ": 'alpha_pattern': expected numbers, found " + Quoted(own->dump()));
  }
  const double alpha = own ? own->get<double>() : config_["lora_alpha"].get<double>();
  const auto rank = static_cast<double>(Rank(module));
  return alpha / (BoolOr(config_, "use_rslora", false, where_) ? std::sqrt(rank) : rank);
}

}  // namespace glint
