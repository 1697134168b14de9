#include "tests/fuzz/run_model.h"

#include "lib/memory_estimate.h"
#include "lib/positions.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace glint::fuzz {
namespace {

constexpr uint64_t kMostMemory = uint64_t{16} << 20;
constexpr size_t kContext = 24;

}  // namespace

SessionOptions SmallSession() {
  SessionOptions options;
  options.context = kContext;
  options.threads = 1;
  options.chunk = 4;
  options.max_batch = 2;
  return options;
}

std::vector<int32_t> PromptOf(const Model& model) {
  const PromptIds& ids = model.prompt_ids();
  std::vector<int32_t> prompt;
  for (const int32_t id : {0, 1, 2, ids.mask, ids.gmask, ids.sop, ids.bos}) {
    if (id >= 0 && static_cast<uint64_t>(id) < model.vocab_size()) prompt.push_back(id);
  }
  return prompt;
}

void RunModel(const Model& model) {
  if (model.tokenizer() != nullptr) UseTokenizer(*model.tokenizer(), "abc");
  const SessionOptions options = SmallSession();
  if (EstimateMemory(model, WithDefaults(model, options)).Total() > kMostMemory) return;
  if (model.cost().linear_parameters > kMostMemory) return;
  Session session(model, options);
  const std::vector<int32_t> prompt = PromptOf(model);
  if (session.Start(prompt) != Status::kOk) return;
  Require(session.logits().size() == model.n_outputs(), "a row of logits");
  session.Append(prompt.front());
}

}  // namespace glint::fuzz
