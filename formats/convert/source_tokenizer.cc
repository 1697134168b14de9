#include "formats/convert/source_tokenizer.h"

#include <algorithm>
#include <type_traits>

#include "lib/error.h"
#include "lib/text/chat.h"

namespace glint {
namespace {

// Tokens that end a turn in published chat formats, whatever config.json has for the end of a text.
constexpr const char* kTurnEnds[] = {
    "<|im_end|>",       // ChatML: Qwen
    "<|eot_id|>",       // LLaMA 3
    "<|eom_id|>",       // LLaMA 3.1, before a tool's answer
    "<|end|>",          // Phi-3
    "<end_of_turn>",    // Gemma
    "<|endoftext|>",    // GPT-2, Qwen, GLM-4
    "<|user|>",         // ChatGLM3, GLM-4: the next turn
    "<|observation|>",  // the same, before a tool's answer
};

// What belongs to a chat format in the header's "prompt" section.
constexpr const char* kChatKeys[] = {"format",    "template",  "bos_token",
                                     "eos_token", "unk_token", "pad_token"};

// Adds the ids of tokens that end a turn. A format that needs tokens which the tokenizer lacks is left
// out with a remark: the rest of the model is none the worse for it.
void FinishChat(const ImportedTokenizer& imported, const std::string& where,
                const std::function<void(const std::string&)>& warn, SourceModel* model) {
  nlohmann::json& prompt = *model->header.prompt;
  const std::unique_ptr<Tokenizer> tokenizer =
      Tokenizer::Create(*model->header.tokenizer, imported.Tables(), where);
  try {
    ChatFormat::Create(prompt, *tokenizer, where);
  } catch (const Error& error) {
    if (warn) warn(error.what() + std::string("; the model will not chat"));
    for (const char* key : kChatKeys) prompt.erase(key);
    return;
  }
  const uint64_t vocab_size = model->header.config->at("vocab_size").get<uint64_t>();
  nlohmann::json& stop = prompt["stop_ids"];
  for (const char* token : kTurnEnds) {
    const int32_t id = tokenizer->FindToken(token);
    if (id < 0 || static_cast<uint64_t>(id) >= vocab_size) continue;
    if (std::find(stop.begin(), stop.end(), id) == stop.end()) stop.push_back(id);
  }
}

// A tokenizer with more tokens than the embedding has rows is mostly another model's.
void CheckSize(const ImportedTokenizer& tokenizer, const std::string& where,
               const std::function<void(const std::string&)>& warn, const SourceModel& model) {
  for (const SourceWeight& weight : model.weights) {
    if (weight.role != ImportTensor::Role::kVocabulary || tokenizer.size() <= weight.shape[0]) {
      continue;
    }
    if (!warn) return;
    return warn(where + ": the tokenizer has " + std::to_string(tokenizer.size()) +
                " tokens, the model " + std::to_string(weight.shape[0]) +
                ": is it that of another model?");
  }
}

}  // namespace

void AddTokenizer(const std::optional<ImportedTokenizer>& tokenizer, const nlohmann::json& more,
                  const std::string& where, const std::function<void(const std::string&)>& warn,
                  SourceModel* model) {
  if (!tokenizer) {
    if (warn) {
      warn(where +
           ": there is no tokenizer; the model will have none: logits, greedy and bench "
           "work, chat does not");
    }
    return;
  }
  CheckSize(*tokenizer, where, warn, *model);
  ForEachTable(*tokenizer, [&]<class T>(const char* name, const std::vector<T>& table) {
    constexpr DType dtype = std::is_same_v<T, float>     ? DType::kF32
                            : std::is_same_v<T, int32_t> ? DType::kI32
                                                         : DType::kU8;
    if (table.empty()) return;
    model->weights.push_back(
        VectorWeight(std::string("tokenizer.") + name, dtype, table.data(), table.size()));
  });
  model->header.tokenizer.reset(new nlohmann::json(tokenizer->options));
  model->header.tokenizer->update(more);
  if (model->header.prompt->contains("format")) FinishChat(*tokenizer, where, warn, model);
}

}  // namespace glint
