// Which of a folder's files the tokenizer is read from.
#include <optional>

#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "formats/import/sentencepiece.h"
#include "formats/import/tokenizer_files.h"
#include "formats/json.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool IsBare(const std::string& rules) {
  return rules.empty() || rules == "plain";
}

// What tokenizer_config.json says about a sentencepiece model of the LLaMA kind.
void ApplyConfig(const Json& config, const std::string& where, ImportRules* rules) {
  const std::string name = config.is_object() && config.contains("tokenizer_class") &&
                                   config.at("tokenizer_class").is_string()
                               ? config.at("tokenizer_class").get<std::string>()
                               : "";
  const bool llama =
      name.starts_with("Llama") || name.starts_with("CodeLlama") || name.starts_with("Gemma");
  if (ConfigFlag(config, "add_eos_token", false, where)) {
    throw Error(where + ": tokenizer_config.json: 'add_eos_token': true is not supported");
  }
  if (rules->rules.empty() && !llama) {
    throw Error(where +
                ": whose rules these are cannot be told from the file; glint tokenize takes them as "
                "--type (known: chatglm1, chatglm2, chatglm3, llama)");
  }
  if (rules->rules.empty()) rules->rules = "llama";
  if (rules->rules == "llama" && !ConfigFlag(config, "add_bos_token", true, where)) {
    rules->rules = "plain";
  }
}

// tokenizer.model or ice_text.model.
ImportedTokenizer ReadModelFile(const std::string& path, ImportRules rules, const Json& config,
                                const Json& added) {
  const InputFile file(path);
  const std::string kind = DescribeKind(file);
  if (!kind.empty()) throw Error(path + ": expected a tokenizer, found " + kind);
  const std::vector<uint8_t> bytes = ReadWholeFile(file, kMaxVocabularyFileBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (IsRankFile(text)) return ParseRankFile(text, rules.rules, config, path);
  const bool chatglm = rules.rules.starts_with("chatglm");
  if (!chatglm) ApplyConfig(config, path, &rules);
  ImportedTokenizer model = ParseSentencePiece(bytes, rules, path);
  if (chatglm) return model;  // their code adds its tokens itself
  AddTokensToPieces(ReadAddedTokens(config, added, path), path, &model);
  // transformers puts a space before every text between tokens, or with "legacy": false before the
  // first only.
  const bool legacy = ConfigFlag(config, "legacy", true, path);
  if (!legacy && model.options.value("add_dummy_prefix", false)) {
    model.options["dummy_prefix_first_only"] = true;
  }
  Tokenizer::Create(model.options, model.Tables(), path);
  return model;
}

}  // namespace

std::optional<ImportedTokenizer> ReadFolderTokenizer(const std::string& folder,
                                                     const ImportRules& rules) {
  const auto path = [&](const char* name) { return JoinPath(folder, name); };
  const Json config = ReadJsonIfThere(path("tokenizer_config.json"));
  const Json added = ReadJsonIfThere(path("added_tokens.json"));
  if (FileExists(path("ice_text.model"))) {
    const bool bare = IsBare(rules.rules);
    return ReadSentencePiece(path("ice_text.model"),
                             {bare ? "chatglm1" : rules.rules, rules.id_offset});
  }
  if (FileExists(path("tokenizer.model"))) {
    return ReadModelFile(path("tokenizer.model"), rules, config, added);
  }
  if (FileExists(path("tokenizer.json"))) return ReadTokenizerJson(path("tokenizer.json"));
  if (FileExists(path("vocab.json"))) {
    return ReadVocabJson(path("vocab.json"), path("merges.txt"), rules.rules, config, added);
  }
  if (FileExists(path("vocab.txt"))) return ReadVocabTxt(path("vocab.txt"), rules.rules, config);
  return std::nullopt;
}

ImportedTokenizer ReadTokenizerFile(const std::string& path, const ImportRules& rules) {
  const std::string name = BaseName(path);
  if (name.ends_with(".json") && name != "vocab.json") return ReadTokenizerJson(path);
  if (name == "vocab.json") {
    const std::string folder = path.substr(0, path.size() - name.size());
    return ReadVocabJson(path, folder + "merges.txt", rules.rules, nullptr, nullptr);
  }
  if (name.ends_with(".txt")) return ReadVocabTxt(path, rules.rules, nullptr);
  if (name == "ice_text.model" && IsBare(rules.rules)) {
    return ReadSentencePiece(path, {"chatglm1", rules.id_offset});
  }
  return ReadModelFile(path, rules, nullptr, nullptr);
}

}  // namespace glint
