#pragma once
#include <memory>
#include <string>

#include "lib/adapter.h"
#include "lib/model.h"
#include "quant/dtype.h"
#include "tests/adapter_samples.h"

// Small models that adapters and saved sessions belong to.
namespace glint::fuzz {

// llama: causal, with scales folded into its norms; glm: ChatGLM-6B, a context that sees itself,
// two positions; gemma2: layers with windows.
enum class Base : uint8_t { kLlama, kGlm, kGemma2 };
inline constexpr size_t kBases = 3;

const Model& ModelOf(Base base);
// An adapter of it: a prefix of glm, a LoRA of the others.
const Adapter& AdapterOf(Base base);

// The base that a text names, an adapter's header or a config.json; llama where it names none.
Base BaseOf(std::string_view text);

// Others' adapters as an input that is a folder (folder_parts.h).
std::string PeftFolder(Base base);
std::string PrefixFolder(bool projects);
// The adapter of such an input as a .glint file.
std::string ConvertedAdapter(const std::string& input, DType type);

// A .glint file of TinyModel(name), by way of GGUF.
std::string ConvertedModel(const std::string& name, DType type);

}  // namespace glint::fuzz
