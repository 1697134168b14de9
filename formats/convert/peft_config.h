#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace glint {

// adapter_config.json of a LoRA as PEFT writes it (huggingface/peft, LoraConfig).
class PeftConfig {
 public:
  // Throws Error naming an option that would change what is computed and is not supported: another
  // kind of adapter, biases, DoRA, whole modules saved, weights of the base that were changed.
  PeftConfig(nlohmann::json config, std::string where);

  // The rank that the option says for a module ("model.layers.0.self_attn.q_proj").
  uint64_t Rank(const std::string& module) const;
  // lora_alpha / rank, or with use_rslora lora_alpha / sqrt(rank) (Kalajdzievski 2023), of this
  // module.
  double Scale(const std::string& module) const;

 private:
  void RefuseOptions() const;
  // The entry of a pattern's option that is for the module; null if none is.
  const nlohmann::json* Pattern(const char* option, const std::string& module) const;

  nlohmann::json config_;
  std::string where_;
};

}  // namespace glint
