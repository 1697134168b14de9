#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "formats/convert/model_writer.h"
#include "quant/dtype.h"

namespace glint {

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
  std::function<void(const std::string&)> warn{};
};

// Makes a .glint file. Needs memory for a band of rows, whatever the size of the model. Throws Error;
// then there is no output file.
void Convert(const ConvertOptions& options);

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
