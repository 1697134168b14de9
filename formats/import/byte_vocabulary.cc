// Byte-level BPE from vocab.json and merges.txt, and from tiktoken's rank files.
#include <algorithm>
#include <array>
#include <charconv>

#include "formats/import/hf_folder.h"
#include "formats/import/input_file.h"
#include "formats/import/tokenizer_files.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/text/pre_tokenizer.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// What the published tokenizers do that their vocabularies do not say.
constexpr struct {
  const char* rules;
  const char* tokenizer_class;  // of tokenizer_config.json
  bool nfc;
  const char* end_token;  // special where no file says otherwise
} kPublished[] = {{"gpt2", "GPT2Tokenizer", false, "<|endoftext|>"},
                  {"qwen2", "Qwen2Tokenizer", true, "<|endoftext|>"},
                  {"llama3", "", false, nullptr},
                  {"glm4", "ChatGLM4Tokenizer", false, nullptr}};

constexpr size_t kLlama3Specials = 256;

std::string ClassOf(const Json& config) {
  if (!config.is_object()) return "";
  const auto name = config.find("tokenizer_class");
  return name != config.end() && name->is_string() ? name->get<std::string>() : "";
}

std::string RulesOf(const std::string& rules, const Json& config, const std::string& where) {
  if (!rules.empty() && rules != "plain" && rules != "llama") return rules;
  std::string name = ClassOf(config);
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  for (const auto& row : kPublished) {
    if (!name.empty() && name == row.tokenizer_class) return row.rules;
  }
  throw Error(where + ": whose pre-tokenizer this is cannot be told from " +
              (name.empty() ? "the files" : "the tokenizer_class " + Quoted(name)) +
              "; glint tokenize takes them as --type (known: gpt2, llama3, qwen2, glm4)");
}

// One line "base64 rank".
bool ReadRank(std::string_view line, std::string* bytes, int64_t* rank) {
  const size_t space = line.find(' ');
  if (space == line.npos || space == 0) return false;
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data() + space + 1, end, *rank);
  return error == std::errc() && stop == end && FromBase64(line.substr(0, space), bytes) &&
         !bytes->empty();
}

std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// The special tokens that LLaMA-3's own code (llama/tokenizer.py) puts behind its ranks.
std::vector<AddedEntry> Llama3Specials(size_t first) {
  constexpr const char* kNamed[] = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|reserved_special_token_2|>",
                                    "<|reserved_special_token_3|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|reserved_special_token_4|>",
                                    "<|eot_id|>"};
  std::vector<AddedEntry> tokens;
  for (size_t i = 0; i < kLlama3Specials; ++i) {
    const std::string text = i < std::size(kNamed)
                                 ? kNamed[i]
                                 : "<|reserved_special_token_" + std::to_string(i - 5) + "|>";
    tokens.push_back({static_cast<int32_t>(first + i), text, true, 0});
  }
  return tokens;
}

int32_t FindId(const std::vector<AddedEntry>& tokens, std::string_view text) {
  for (const AddedEntry& token : tokens) {
    if (token.text == text) return token.id;
  }
  return -1;
}

Json Options(const std::string& rules, const std::string& where) {
  Json options = {{"algorithm", "byte_bpe"}, {"rules", FindPreTokenizer(rules, where).name}};
  for (const auto& row : kPublished) {
    if (rules == row.rules && row.nfc) options["nfc"] = true;
  }
  return options;
}

// GLM-4's texts begin with [gMASK]<sop>, LLaMA-3's with <|begin_of_text|>.
Json PrefixIds(const std::string& rules, const std::vector<AddedEntry>& tokens) {
  constexpr std::pair<std::string_view, std::string_view> kPrefixes[] = {
      {"glm4", "[gMASK]"}, {"glm4", "<sop>"}, {"llama3", "<|begin_of_text|>"}};
  Json ids = Json::array();
  for (const auto& [name, text] : kPrefixes) {
    const int32_t id = FindId(tokens, text);
    if (name == rules && id >= 0) ids.push_back(id);
  }
  return ids;
}

void CheckOpens(const ImportedTokenizer& model, const std::string& where) {
  Tokenizer::Create(model.options, model.Tables(), where);
}

// The halves of the merges of merges.txt, as bytes: left, right, left, ...
std::vector<std::string> ReadMergeParts(const std::string& merges) {
  const std::vector<uint8_t> file = ReadWholeFile(InputFile(merges), kMaxVocabularyFileBytes);
  std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  std::vector<std::string> parts;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = TakeLine(&text);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    std::string left, right;
    if (space == line.npos || line.find(' ', space + 1) != line.npos ||
        !FromByteText(line.substr(0, space), &left) ||
        !FromByteText(line.substr(space + 1), &right)) {
      throw Error(merges + ": line " + std::to_string(number) +
                  ": expected two tokens and a space between, found " + Quoted(line));
    }
    parts.push_back(std::move(left));
    parts.push_back(std::move(right));
  }
  return parts;
}

}  // namespace

bool IsRankFile(std::string_view text) {
  std::string bytes;
  int64_t rank;
  return ReadRank(TakeLine(&text), &bytes, &rank);
}

ImportedTokenizer ParseRankFile(std::string_view text, const std::string& rules, const Json& config,
                                const std::string& where) {
  // LLaMA's third generation has ranks where the first two have sentencepiece.
  const std::string name = rules == "llama" ? "llama3" : RulesOf(rules, config, where);
  Vocabulary vocabulary;
  std::string bytes;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = TakeLine(&text);
    if (line.empty()) continue;
    int64_t rank = -1;
    const std::string place = where + ": line " + std::to_string(number);
    if (!ReadRank(line, &bytes, &rank)) {
      throw Error(place + ": expected base64, a space and a rank, found " + Quoted(line));
    }
    vocabulary.Set(rank, bytes, PieceType::kNormal, place);
  }
  std::vector<AddedEntry> tokens = ReadAddedTokens(config, nullptr, where);
  if (tokens.empty() && name == "llama3") tokens = Llama3Specials(vocabulary.texts.size());
  AddTokens(tokens, &vocabulary, where);
  ImportedTokenizer model;
  model.options = Options(name, where);
  model.options["ignore_merges"] = true;
  const Json prefix = PrefixIds(name, tokens);
  if (!prefix.empty()) model.options["prefix_ids"] = prefix;
  SetRankedTables(vocabulary, where, &model);
  SetAddedTable(tokens, &model);
  CheckOpens(model, where);
  return model;
}

ImportedTokenizer ReadVocabJson(const std::string& vocab, const std::string& merges,
                                const std::string& rules, const Json& config, const Json& added) {
  const std::string name = RulesOf(rules, config, vocab);
  const Json json = ReadJsonFile(vocab, kMaxVocabularyFileBytes);
  if (!json.is_object()) {
    throw Error(vocab + ": expected an object of tokens and ids, found " + json.type_name());
  }
  std::vector<std::pair<int64_t, std::string>> sorted;
  std::string bytes;
  for (const auto& [text, id] : json.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX || text.empty()) {
      throw Error(vocab + ": token " + Quoted(text) + ": expected an id");
    }
    // What is no text of bytes is an added token that was written here; merges cannot make it.
    sorted.emplace_back(id.get<int64_t>(), FromByteText(text, &bytes) ? bytes : text);
  }
  std::sort(sorted.begin(), sorted.end());
  Vocabulary vocabulary;
  for (auto& [id, text] : sorted) vocabulary.Set(id, text, PieceType::kNormal, vocab);

  const std::vector<std::string> parts = ReadMergeParts(merges);
  std::vector<Merge> list;
  for (size_t i = 0; i < parts.size(); i += 2) list.emplace_back(parts[i], parts[i + 1]);

  std::vector<AddedEntry> tokens = ReadAddedTokens(config, added, vocab);
  Json named = config;
  if (config.is_null()) {
    for (const auto& row : kPublished) {
      if (name == row.rules && row.end_token != nullptr) named = {{"eos_token", row.end_token}};
    }
  }
  AddNamedTokens(named, vocabulary, vocab, &tokens);
  AddTokens(tokens, &vocabulary, vocab);
  ImportedTokenizer model;
  model.options = Options(name, vocab);
  if (ConfigFlag(config, "add_prefix_space", false, vocab)) {
    model.options["add_prefix_space"] = true;
  }
  if (ConfigFlag(config, "add_bos_token", false, vocab)) {
    const int32_t bos = FindId(tokens, TokenText(config, "bos_token", vocab));
    if (bos < 0) throw Error(vocab + ": tokenizer_config.json: add_bos_token without a bos_token");
    model.options["prefix_ids"] = {bos};
  }
  SetMergedTables(vocabulary, list, true, merges, &model);
  SetAddedTable(tokens, &model);
  CheckOpens(model, vocab);
  return model;
}

}  // namespace glint
