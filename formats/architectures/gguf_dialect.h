#pragma once
#include <nlohmann/json.hpp>
#include <vector>

namespace glint {

// A weight's place: of the checkpoint as Hugging Face has it, and of the GGUF file. Within a layer,
// both without what says which layer ("self_attn.q_proj", "attn_q").
struct GgufName {
  const char* hf;
  const char* gguf;
};

// An architecture as llama.cpp's convert_hf_to_gguf.py writes it.
struct GgufDialect {
  const char* architecture = nullptr;  // general.architecture; null: there are no such files
  bool has_experts = false;            // some names mean two architectures, told apart by this
  std::vector<GgufName> names{};       // where they differ from the common ones (gguf_config.cc)
  bool permuted = false;               // rows of q and k are in the order of pairs
  bool plus_applied = false;           // ImportTensor::plus is in the numbers already
  // Puts into config.json, made from the common keys, what is this architecture's own: model_type.
  void (*adapt)(nlohmann::json* hf_config) = nullptr;
};

}  // namespace glint
