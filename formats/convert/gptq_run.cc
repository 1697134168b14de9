#include "formats/convert/gptq_run.h"

#include <memory>
#include <vector>

#include "formats/convert/gptq.h"
#include "formats/convert/hessian.h"
#include "lib/error.h"

namespace glint {

void RequireGptq() {
  if (GptqAvailable()) return;
  throw Error("recipe 'best' needs OpenBLAS, which this build of glint does not have");
}

GptqRun::GptqRun(const SourceModel& source, StagedModel& model, TypeOf type_of,
                 OptionsOf options_of)
    : model_(model),
      type_of_(std::move(type_of)),
      options_of_(std::move(options_of)),
      weights_(WeightsByName(source)) {
  RequireGptq();
  for (size_t s = 0; s < model_.stages().size(); ++s) {
    for (const StagedModel::Input& input : model_.stages()[s].inputs) {
      if (input.IsExpert()) continue;
      for (const std::string& name : input.weights) {
        const SourceWeight& weight = *weights_.at(name);
        // Fewer tokens than inputs tell more of chance than of the inputs (docs/QUANT.md).
        if (model_.n_tokens() < input.cols) continue;
        const DType type = type_of_(weight);
        if (!weight.tied_to.empty() || !HasGptq(type) || KeepsNumbers(weight, type)) continue;
        stage_of_[name] = s;
      }
    }
  }
  rows_ = model_.Embed(SIZE_MAX);
}

bool GptqRun::Handles(const SourceWeight& weight) const {
  return stage_of_.count(weight.name) != 0;
}

OwnedTensor GptqRun::Take(const std::string& name) {
  while (next_stage_ <= stage_of_.at(name)) RunStage();
  OwnedTensor result = std::move(done_.at(name));
  done_.erase(name);
  return result;
}

void GptqRun::RunStage() {
  const size_t s = next_stage_++;
  const std::vector<StagedModel::Input>& inputs = model_.stages()[s].inputs;
  std::vector<std::unique_ptr<Hessian>> hessians(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (const std::string& name : inputs[i].weights) {
      if (stage_of_.count(name) != 0 && !hessians[i]) {
        hessians[i] = std::make_unique<Hessian>(inputs[i].cols);
      }
    }
  }
  model_.Load(s);
  model_.Run(&rows_, false, {}, [&](size_t i, const float* x, size_t stride, size_t n) {
    if (hessians[i]) hessians[i]->Add(x, stride, n, model_.pool());
  });
  std::vector<const Tensor*> replaced;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!hessians[i]) continue;
    const InverseFactor factor(*hessians[i], {}, inputs[i].weights[0], model_.pool());
    for (const std::string& name : inputs[i].weights) {
      if (stage_of_.count(name) == 0) continue;
      const SourceWeight& weight = *weights_.at(name);
      OwnedTensor tensor = AllocateTensor(name, type_of_(weight), BlockOffset::kNone, weight.shape);
      GptqEncode(ViewOf(tensor.tensor).layout, options_of_(weight), {}, weight.read, factor, weight.place,
                 model_.pool(), tensor.memory.get());
      replaced.push_back(&(done_[name] = std::move(tensor)).tensor);
    }
    hessians[i].reset();
  }
  const bool is_last = s + 1 == model_.stages().size();
  if (!is_last) model_.Run(&rows_, true, replaced, {});
}

}  // namespace glint
