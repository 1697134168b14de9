#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "formats/architectures/architecture.h"
#include "formats/import/gguf.h"

// A GGUF file seen as a Hugging Face checkpoint, so that an architecture is described once.
namespace glint {

// What its config.json would say: the metadata's numbers, frequencies' divisors that lie in
// tensors, and what follows from which tensors are there (biases, a tied head). Throws Error: a key
// that is missing or of another type, an architecture or a setting that is not known.
nlohmann::json ConfigFromGguf(const Gguf& gguf, const GgufDialect& dialect);

struct GgufMatch {
  const Architecture* architecture;
  const GgufDialect* dialect;  // one of the architecture's
};
// By general.architecture, and a marker where several have that. Throws Error naming it if it is
// not known.
GgufMatch FindGgufArchitecture(const Gguf& gguf);

// Where a weight of the checkpoint lies in the file.
struct GgufPlace {
  std::string tensor;
  uint64_t part = 0;  // of a tensor that stacks the experts' matrices
  bool is_part = false;
  bool permuted_q = false, permuted_k = false;  // rows are in the order of pairs
};
// Of a weight's name as Hugging Face has it ("model.layers.3.self_attn.q_proj.weight"); `tensor` is
// empty if the file's format has no such weight.
GgufPlace FindGgufPlace(const GgufDialect& dialect, const std::string& hf_name);

// Tensors that are no weights: ConfigFromGguf reads them.
bool IsGgufConfigTensor(const std::string& name);

}  // namespace glint
