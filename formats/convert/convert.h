#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/convert/model_writer.h"
#include "formats/output_memory.h"
#include "quant/dtype.h"

namespace glint {

// How much trouble the quantizers take.
enum class Recipe : uint8_t {
  kFast,      // the weights alone: scales of least squared error
  kBalanced,  // errors weighted by how large the inputs are that meet them; norms take up scales
  kBest,      // GPTQ: errors spread over the columns that follow; a few bits more where they count most
};
const char* Name(Recipe recipe);  // "fast", "balanced", "best"
bool ParseRecipe(std::string_view name, Recipe* recipe);

struct ConvertOptions {
  std::string source;  // Hugging Face folder, .safetensors or .bin file, or .glint file
  WriteOptions write;
  // Type of the matrices. Not set: int4, or what the source is quantized to already.
  bool has_type = false;
  DType type = DType::kInt4;
  // Types of the matrices whose name (ours: "layer.3.qkv.weight") matches a pattern with * and ?; the
  // first that matches holds.
  std::vector<std::pair<std::string, DType>> tensor_types{};
  bool search = true;  // look for the scales of least error
  Recipe recipe = Recipe::kFast;
  // What the other recipes calibrate with, and how many tokens of it: a text, or a NumPy file of ids
  // (windows, length) where its name ends with .npy.
  std::string calibrate{};
  size_t calibrate_tokens = 0;  // 0: 8192; for kBest also twice the widest input of a matrix
  // Bits per weight of the layers' matrices that kBest may add on average.
  double extra_bits = 0.15;
  std::function<void(const std::string&)> warn{};
};

// Makes a .glint file. kFast needs memory for a band of rows, whatever the size of the model; kBalanced
// besides for a layer in the source's floats and the activations of all calibration tokens; kBest also for
// two squares of floats as wide as the layer's widest inputs, and before that for a window's activations
// (512 tokens) for each of the model's matrices. kFast and kBalanced make the same file on
// every machine, kBest on every machine for which OpenBLAS chooses the same kernels (their name is in the
// metadata); the number of threads never matters. Throws Error; then there is no output file.
void Convert(const ConvertOptions& options);
// The same into memory, without checksums: write.output and write.overwrite do not matter, messages
// name the source. Only the result stays, beside a band of rows per thread while it is made.
std::shared_ptr<const OutputMemory> ConvertToMemory(const ConvertOptions& options);
// The same but for the matrices, which are not read and take no memory: sizes, graph, tokenizer. For
// Recipe::kFast.
std::shared_ptr<const OutputMemory> OutlineInMemory(const ConvertOptions& options);

// Makes a .glint file of a published model's shape with random weights. Throws Error.
struct SynthOptions {
  std::string shape;  // "chatglm-6b", "llama-7b"
  WriteOptions write;
  DType type = DType::kInt4;
  uint64_t seed = 1;
};
void Synthesize(const SynthOptions& options);

// Whether `text` matches `pattern`, in which * stands for any text and ? for any character.
bool Matches(const std::string& pattern, const std::string& text);

}  // namespace glint
