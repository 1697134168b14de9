#include "formats/import/tokenizer_files.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "formats/json.h"
#include "lib/error.h"
#include "lib/text/added_tokens.h"
#include "lib/text/piece_index.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};

bool Flag(const Json& token, const char* key, const std::string& where) {
  const auto found = token.find(key);
  if (found == token.end()) return false;
  if (!found->is_boolean()) {
    throw Error(where + ": " + Quoted(key) + ": expected true or false, found " +
                found->type_name());
  }
  return found->get<bool>();
}

int64_t ParseId(std::string_view text, const std::string& where) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) {
    throw Error(where + ": expected an id, found " + Quoted(text));
  }
  return id;
}

// The special tokens that `config` names, in its order; some may be there twice or be empty.
std::vector<std::string> NamedTokens(const Json& config, const std::string& where) {
  std::vector<std::string> texts;
  if (!config.is_object()) return texts;
  for (const char* key : kNamedTokens) texts.push_back(TokenText(config, key, where));
  const auto more = config.find("additional_special_tokens");
  if (more == config.end() || !more->is_array()) return texts;
  for (const Json& token : *more) {
    if (token.is_string()) texts.push_back(token.get<std::string>());
    if (token.is_object()) texts.push_back(GetString(token, "content", where));
  }
  return texts;
}

// Sets, for a file may name millions.
using Texts = std::unordered_set<std::string>;
Texts TextsOf(const std::vector<AddedEntry>& tokens) {
  Texts texts;
  for (const AddedEntry& token : tokens) texts.insert(token.text);
  return texts;
}

}  // namespace

bool FromBase64(std::string_view text, std::string* bytes) {
  bytes->clear();
  uint32_t bits = 0;
  int n_bits = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    uint32_t digit;
    if (c >= 'A' && c <= 'Z') {
      digit = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      digit = static_cast<uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0' + 52);
    } else if (c == '+' || c == '/') {
      digit = c == '+' ? 62 : 63;
    } else {
      return false;
    }
    bits = bits << 6 | digit;
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    *bytes += static_cast<char>(bits >> n_bits);
  }
  return n_bits < 6;
}

AddedEntry ReadAddedEntry(const Json& token, int64_t id, const std::string& where) {
  if (!token.is_object()) {
    throw Error(where + ": expected an object, found " + token.type_name());
  }
  AddedEntry entry;
  entry.text = GetString(token, "content", where);
  const std::string place = where + ": token " + Quoted(entry.text);
  if (entry.text.empty() || id < 0 || id >= static_cast<int64_t>(kMaxVocabulary)) {
    throw Error(place + ": expected a text and an id below " + std::to_string(kMaxVocabulary) +
                ", found id " + std::to_string(id));
  }
  entry.id = static_cast<int32_t>(id);
  entry.special = Flag(token, "special", place);
  if (Flag(token, "single_word", place)) {
    throw Error(place + ": 'single_word' is not supported");
  }
  if (Flag(token, "lstrip", place)) entry.flags |= AddedToken::kLeftStrip;
  if (Flag(token, "rstrip", place)) entry.flags |= AddedToken::kRightStrip;
  if (Flag(token, "normalized", place)) entry.flags |= AddedToken::kNormalized;
  return entry;
}

std::string TokenText(const Json& config, const char* key, const std::string& where) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object()) return GetString(*found, "content", where + ": " + Quoted(key));
  throw Error(where + ": " + Quoted(key) + ": expected a token, found " + found->type_name());
}

// The readers written in Python, which these files are for, seek all tokens in the text as it is.
std::vector<AddedEntry> ReadAddedTokens(const Json& config, const Json& added,
                                        const std::string& where) {
  std::vector<AddedEntry> tokens;
  if (config.is_object() && config.contains("added_tokens_decoder")) {
    const std::string place = where + ": tokenizer_config.json: 'added_tokens_decoder'";
    const Json& decoder = config.at("added_tokens_decoder");
    if (!decoder.is_object()) {
      throw Error(place + ": expected an object, found " + decoder.type_name());
    }
    for (const auto& [id, token] : decoder.items()) {
      tokens.push_back(ReadAddedEntry(token, ParseId(id, place), place));
      tokens.back().flags &= ~AddedToken::kNormalized;
    }
  }
  if (added.is_object()) {
    const std::vector<std::string> list = NamedTokens(config, where);
    const Texts known = TextsOf(tokens), named(list.begin(), list.end());
    for (const auto& [text, id] : added.items()) {
      const std::string place = where + ": added_tokens.json: " + Quoted(text);
      if (known.contains(text)) continue;
      if (text.empty() || !id.is_number_unsigned() || id.get<uint64_t>() >= kMaxVocabulary) {
        throw Error(place + ": expected a text and an id below " + std::to_string(kMaxVocabulary));
      }
      tokens.push_back({id.get<int32_t>(), text, named.contains(text), 0});
    }
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedEntry& a, const AddedEntry& b) { return a.id < b.id; });
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].id != tokens[i - 1].id) continue;
    throw Error(where + ": added tokens " + Quoted(tokens[i - 1].text) + " and " +
                Quoted(tokens[i].text) + " have the same id " + std::to_string(tokens[i].id));
  }
  return tokens;
}

void AddNamedTokens(const Json& config, const Vocabulary& vocabulary, const std::string& where,
                    std::vector<AddedEntry>* tokens) {
  const auto ids = vocabulary.Ids();
  Texts known = TextsOf(*tokens);
  int64_t next = static_cast<int64_t>(vocabulary.texts.size());
  for (const AddedEntry& token : *tokens) next = std::max<int64_t>(next, int64_t{token.id} + 1);
  for (const std::string& text : NamedTokens(config, where)) {
    if (text.empty() || !known.insert(text).second) continue;
    const auto found = ids.find(text);
    const int32_t id = found == ids.end() ? static_cast<int32_t>(next++) : found->second;
    tokens->push_back({id, text, true, 0});
  }
}

bool ConfigFlag(const Json& config, const char* key, bool otherwise, const std::string& where) {
  if (!config.is_object() || !config.contains(key) || config.at(key).is_null()) return otherwise;
  if (config.at(key).is_boolean()) return config.at(key).get<bool>();
  throw Error(where + ": tokenizer_config.json: " + Quoted(key) + ": expected true or false");
}

void AddTokensToPieces(const std::vector<AddedEntry>& tokens, const std::string& where,
                       ImportedTokenizer* model) {
  if (tokens.empty()) return;
  for (const AddedEntry& token : tokens) {
    const size_t id = static_cast<size_t>(token.id);
    if (id > model->size()) {
      throw Error(where + ": added token " + Quoted(token.text) + ": expected id " +
                  std::to_string(model->size()) + ", the next one, found " +
                  std::to_string(token.id));
    }
    if (!IsUtf8(token.text) || token.text.size() > kMaxPieceBytes) {
      throw Error(where + ": added token " + std::to_string(token.id) +
                  ": expected UTF-8 of at most " + std::to_string(kMaxPieceBytes) + " bytes");
    }
    if (id == model->size()) {
      model->AppendPiece(token.text, token.special ? PieceType::kControl : PieceType::kUserDefined);
      model->scores.push_back(0.0f);
      continue;
    }
    const TokenizerTables tables = model->Tables();
    if (PieceOf(tables, id) != token.text) {
      throw Error(where + ": added token " + Quoted(token.text) + ": id " + std::to_string(id) +
                  " is that of " + Quoted(PieceOf(tables, id)));
    }
    const auto type = static_cast<PieceType>(model->types[id]);
    if (token.special && (type == PieceType::kNormal || type == PieceType::kUserDefined)) {
      model->types[id] = static_cast<uint8_t>(PieceType::kControl);
    }
  }
  SetAddedTable(tokens, model);
  model->index = BuildPieceIndex(model->Tables());
}

}  // namespace glint
