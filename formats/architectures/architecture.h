#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "formats/architectures/gguf_dialect.h"
#include "formats/import/sentencepiece.h"
#include "lib/graph.h"
#include "lib/tensor.h"

namespace glint {

// Rows of a tensor of the checkpoint (elements of a vector) that become rows of one of ours.
struct ImportSource {
  std::string name;
  uint64_t rows;
  uint64_t first_row = 0;
  uint64_t of_rows = 0;  // that the tensor has; 0: `rows`

  uint64_t TensorRows() const { return of_rows == 0 ? rows : of_rows; }
};

// A tensor that an architecture wants: where it comes from and what shape it must have.
struct ImportTensor {
  enum class Role : uint8_t {
    kVector,      // f32, plain
    kMatrix,      // the type that the conversion asks for
    kVocabulary,  // embedding or head: as kMatrix, but kept at higher precision where that is cheap
    kSmall,       // a matrix that is small and decides much: f32
  };
  std::string name;  // ours
  // The checkpoint's, whose rows follow each other; none: made of `values`.
  std::vector<ImportSource> sources;
  std::vector<uint64_t> shape;  // of all sources together; each must have its part of it
  Role role = Role::kMatrix;
  std::vector<float> values{};
  float plus = 0;  // kVector: added to the checkpoint's numbers
  // Ours: the same matrix if the checkpoint lacks this or has it twice. Both have one source.
  std::string tied_to{};
};

// How a checkpoint becomes a model: its tensors, header sections and graph.
struct ImportPlan {
  nlohmann::json config, prompt;
  // Options besides what the tokenizer's own file says: special ids.
  nlohmann::json tokenizer = nlohmann::json::object();
  ImportRules tokenizer_rules;
  std::vector<ImportTensor> tensors;
  std::vector<std::string> ignored;  // endings of the names of buffers that are no weights
  // Builds the main graph over the tensors (types decided, no data). Throws Error.
  std::function<Graph(const std::vector<Tensor>& tensors, const std::string& where)> build;
};

// A published model: the part of its config.json that decides the shape.
struct PublishedShape {
  const char* name;    // "chatglm-6b"
  const char* config;  // JSON
};

// One row per architecture; adding one is one file and one row in architectures.cc.
struct Architecture {
  const char* name;                                  // "chatglm"
  bool (*accepts)(const nlohmann::json& hf_config);  // is this config.json of this architecture?
  // tokenizer_config.json may be null. `where` begins each message. Throws Error naming an option
  // that is not supported.
  ImportPlan (*plan)(const nlohmann::json& hf_config, const nlohmann::json& tokenizer_config,
                     const std::string& where);
  std::vector<PublishedShape> published{};
  std::vector<GgufDialect> gguf{};  // none: there are no such files
};

// The row for a config.json. Throws Error naming what was found if there is none.
const Architecture& FindArchitecture(const nlohmann::json& hf_config, const std::string& where);

// All rows.
std::span<const Architecture* const> Architectures();

// config.json of a published model ("chatglm-6b"), for `glint synth`. Throws Error listing the
// names known.
nlohmann::json PublishedConfig(const std::string& name);

}  // namespace glint
