#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/plain_decoder.h"

// Small random checkpoints of every decoder architecture and of its variants, the same on every
// machine, as Hugging Face folders and as the GGUF files that llama.cpp's converter makes of them.
// Names and shapes of tensors are those of the published modelling code (tests/plain_decoder.h
// lists it), keys and names of GGUF those of ggml-org/llama.cpp: gguf-py/gguf/constants.py,
// gguf-py/gguf/tensor_mapping.py and convert_hf_to_gguf.py.
//
// llama.cpp v0.5.0 (npm's @node-llama-cpp/linux-x64 3.22.1, f32 cache) loads all these files, and
// what PlainLogits gives of their F32 forms differs from it by at most 2.5e-5 in a log-probability
// (40 tokens, 300 of each), but for gemma2 (4.1e-3: its gelu is a table of halves) and phi3 (it
// ignores the window there; without the window 1.8e-5).
//
// All weights are exact in bf16 and f16. Sizes are not multiples of 32 here and there.
namespace glint::test {

struct SampleModel {
  std::string name;
  nlohmann::json config;  // config.json
  TensorMap tensors;      // by Hugging Face names
  bool gguf = false;      // llama.cpp's converter has this architecture with these settings
};

std::vector<std::string> SampleNames();      // of all samples
std::vector<std::string> GgufSampleNames();  // of those with a GGUF form

// Throws std::runtime_error: no such sample. `change` is merged into its config (RFC 7396).
SampleModel SampleOf(const std::string& name,
                     const nlohmann::json& change = nlohmann::json::object());

// A prompt of n ids, longer than the windows if n > 7.
std::vector<int32_t> SampleIds(const SampleModel& sample, size_t n);

// A new folder with config.json and model.safetensors of type "F32", "F16" or "BF16".
std::string WriteFolder(const SampleModel& sample, const std::string& type = "F32");

// Writes the GGUF file of a sample with `gguf`, its matrices as `type`: "F32", "F16", "BF16",
// "Q4_0", "Q4_1", "Q5_0" or "Q8_0". As with the converter, vectors, norms and routers are F32, and
// a matrix whose rows are not whole blocks is F16. Gives the model that the file holds: the decoded
// weights, and the config as far as GGUF keeps it, which is to say without: windows of mistral,
// mixtral and qwen (no key is written), norm_topk_prob of qwen2_moe (llama.cpp does not do it) and
// query_pre_attn_scalar of gemma2 (llama.cpp takes head_dim, but for the 27B).
SampleModel WriteGguf(const SampleModel& sample, const std::string& path, const std::string& type);

}  // namespace glint::test
