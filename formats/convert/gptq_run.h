#pragma once
#include <functional>
#include <map>
#include <string>

#include "formats/convert/calibration.h"

namespace glint {

// Throws Error if this build cannot do GPTQ.
void RequireGptq();

// GPTQ through a whole model, a stage at a time: each stage's inputs are those that the stages before
// it, already quantized, give; so later ones make up for what earlier ones lost. In memory are the
// activations of all windows, one stage's weights, its Hessians and its result.
// To be used by one thread at a time.
class GptqRun {
 public:
  // How a matrix of the type that it gets is to be encoded; the importance is not used.
  using OptionsOf = std::function<EncodeOptions(const SourceWeight& weight)>;

  // Matrices of a type that GPTQ knows (HasGptq) are encoded by it. All references must outlive
  // this. Throws Error, also if this build has no OpenBLAS.
  GptqRun(const SourceModel& source, StagedModel& model, TypeOf type_of, OptionsOf options_of);

  // Whether a matrix is encoded here: it is one that a linear of the main graph multiplies by, has a
  // type for it that it is not in already, is not tied, and its inputs are not more than the
  // calibration has tokens.
  bool Handles(const SourceWeight& weight) const;

  // The matrix as stored. Runs the model as far as that takes; each may be taken once, in the order of
  // the graph (else results are kept in memory until they are asked for). Throws Error.
  OwnedTensor Take(const std::string& name);

 private:
  void RunStage();

  StagedModel& model_;
  TypeOf type_of_;
  OptionsOf options_of_;
  std::map<std::string, const SourceWeight*> weights_;
  std::map<std::string, size_t> stage_of_;  // of each matrix handled
  size_t next_stage_ = 0;
  StagedModel::Rows rows_;
  std::map<std::string, OwnedTensor> done_;
};

}  // namespace glint
