#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/adapter.h"
#include "lib/matrix_error.h"
#include "lib/model.h"
#include "lib/text/tokenizer.h"
#include "quant/dtype.h"

// What commands need of the import side: readers of foreign files and the quantizers. A build with
// -Dimport=disabled has no_import.cc in their place, where each throws Error saying so.
namespace glint {

// `glint info` of a checkpoint: folder, .safetensors or .bin.
void PrintCheckpoint(const std::string& path, bool json);
// Of a GGUF file, with all parts of a split one.
void PrintGguf(const std::string& path, bool json);

// The tokenizer of a Hugging Face folder or of a vocabulary file alone. `type` names the rules
// where the file cannot; may be empty. What is returned owns all that the tokenizer reads.
std::shared_ptr<const Tokenizer> ImportTokenizer(const std::string& path, const std::string& type);

// A GGUF file or checkpoint that is to run without a file of ours.
struct DirectRun {
  std::string path;
  std::string type;    // of the matrices; empty: as the source has them, int4 where it has floats
  size_t threads = 0;  // 0: DefaultThreads()
  bool cache = false;  // keep the converted file in CacheFolder(), and use it if it is there
};
// Converts into memory, or with `cache` into a file that is then mapped, with a progress bar, and
// notes on stderr what it has done.
std::unique_ptr<Model> OpenDirectly(const DirectRun& run);
// What it would be converted to, without the numbers of the matrices: at once, and in little memory.
std::unique_ptr<Model> OpenOutline(const DirectRun& run);

// An adapter of a PEFT folder or of THUDM's prefix, converted into memory. threads: 0: DefaultThreads().
std::unique_ptr<Adapter> ImportAdapter(const Model& model, const std::string& path, size_t threads);

// What `quantize-report` compares a model with.
struct BaseTensor {
  std::vector<uint64_t> shape;  // outermost first
  ReadMatrixRows read{};        // of matrices
  std::vector<float> values{};  // of vectors of f32
};
struct BaseModel {
  std::string path;
  std::map<std::string, BaseTensor> tensors;  // by our names; a tied one has what it is tied to
  std::shared_ptr<const void> owner;          // of what `read` reads
};
// Of a Hugging Face folder, a .safetensors or .bin file.
BaseModel ImportBase(const std::string& path);

// A .glint file of a published shape with random weights.
struct SynthRequest {
  std::string shape, output;
  std::string type = "int4";
  uint64_t seed = 1;
  size_t threads = 0;
  bool overwrite = false;
  std::function<void(double)> progress{};
};
void SynthesizeModel(const SynthRequest& request);

}  // namespace glint
