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

// A key of the metadata, after "ARCHITECTURE.", and the option of config.json that it stands for.
struct GgufKey {
  const char* gguf;
  const char* hf;
  bool is_real = false;
};

// An architecture as llama.cpp's convert_hf_to_gguf.py writes it.
struct GgufDialect {
  const char* architecture;            // general.architecture
  // Where a name means several architectures: a tensor that only this one's files have.
  const char* marker = nullptr;
  // Besides the common ones (gguf_config.cc), or in their place.
  std::vector<GgufKey> keys{};
  std::vector<GgufName> names{};
  bool permuted = false;               // rows of q and k are in the order of pairs
  bool plus_applied = false;           // ImportTensor::plus is in the numbers already
  // Puts into config.json, made from the common keys, what is this architecture's own: model_type.
  void (*adapt)(nlohmann::json* hf_config) = nullptr;
};

}  // namespace glint
