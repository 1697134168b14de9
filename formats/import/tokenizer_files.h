#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/import/bpe_tables.h"
#include "formats/import/imported_tokenizer.h"

// Readers of the files of Hugging Face tokenizers; folder_tokenizer.cc puts them together. `config`
// is tokenizer_config.json, `added` added_tokens.json; each may be null. All throw Error.
namespace glint {

// base64 of RFC 4648 as bytes. False if it is none.
bool FromBase64(std::string_view text, std::string* bytes);

// The tokens that the two files add, by id.
std::vector<AddedEntry> ReadAddedTokens(const nlohmann::json& config, const nlohmann::json& added,
                                        const std::string& where);
// One token as tokenizer.json and tokenizer_config.json describe it.
AddedEntry ReadAddedEntry(const nlohmann::json& token, int64_t id, const std::string& where);
// The text of a token that a file names, as a string or as an object: "bos_token" of `config`.
// Empty: none.
std::string TokenText(const nlohmann::json& config, const char* key, const std::string& where);
// A member of `config` that is true or false; `otherwise` where it is null or not there.
bool ConfigFlag(const nlohmann::json& config, const char* key, bool otherwise,
                const std::string& where);
// Appends the special tokens that `config` names (bos_token, ...) to `tokens`, where they are not
// among them: with the vocabulary's ids, or behind it, as transformers does.
void AddNamedTokens(const nlohmann::json& config, const Vocabulary& vocabulary,
                    const std::string& where, std::vector<AddedEntry>* tokens);

// Adds tokens to a sentencepiece model: those that it has become control pieces if they are
// special, others follow behind it. The index is made anew.
void AddTokensToPieces(const std::vector<AddedEntry>& tokens, const std::string& where,
                       ImportedTokenizer* model);

// Whether a tokenizer.model is a list of tiktoken's ranks: lines of base64, a space, a number.
bool IsRankFile(std::string_view text);
// `rules` name the pre-tokenizer and the published special tokens.
ImportedTokenizer ParseRankFile(std::string_view text, const std::string& rules,
                                const nlohmann::json& config, const std::string& where);
// vocab.json and merges.txt of byte-level BPE.
ImportedTokenizer ReadVocabJson(const std::string& vocab, const std::string& merges,
                                const std::string& rules, const nlohmann::json& config,
                                const nlohmann::json& added);
// vocab.txt of BERT; the rules are "bert" or "bert-cased", or empty where `config` says.
ImportedTokenizer ReadVocabTxt(const std::string& path, const std::string& rules,
                               const nlohmann::json& config);
// tokenizer.json. What it says that we do not implement is an error that names it.
ImportedTokenizer ReadTokenizerJson(const std::string& path);

}  // namespace glint
