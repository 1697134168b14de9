#include "tests/fuzz/target.h"

namespace glint::fuzz {
namespace {

constexpr Target kTargets[] = {
    {"glint", FuzzGlint},
    {"gguf", FuzzGguf},
    {"gguf_model", FuzzGgufModel},
    {"safetensors", FuzzSafetensors},
    {"torch", FuzzTorch},
    {"pickle", FuzzPickle},
    {"sentencepiece", FuzzSentencePiece},
    {"tokenizer_json", FuzzTokenizerJson},
    {"jinja", FuzzJinja},
    {"hf_folder", FuzzHfFolder},
    {"adapter", FuzzAdapter},
    {"session", FuzzSession},
    {"text", FuzzText},
    {"dequant", FuzzDequant},
    {"json", FuzzJson},
    {"npy", FuzzNpy},
};

}  // namespace

std::span<const Target> Targets() {
  return kTargets;
}

}  // namespace glint::fuzz
