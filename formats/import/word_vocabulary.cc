// WordPiece from vocab.txt.
#include <algorithm>

#include "formats/import/input_file.h"
#include "formats/import/tokenizer_files.h"
#include "lib/error.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr const char* kSpecials[] = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};

}  // namespace

ImportedTokenizer ReadVocabTxt(const std::string& path, const std::string& rules,
                               const Json& config) {
  if (!rules.empty() && rules != "plain" && rules != "bert" && rules != "bert-cased") {
    throw Error(path + ": rules " + rules + ": a vocab.txt has rules bert or bert-cased");
  }
  const std::vector<uint8_t> file = ReadWholeFile(InputFile(path), kMaxVocabularyFileBytes);
  std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  Vocabulary vocabulary;
  for (int64_t id = 0; !text.empty(); ++id) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    vocabulary.Set(id, std::string(line), PieceType::kNormal, path);
  }
  const auto ids = vocabulary.Ids();
  std::vector<AddedEntry> tokens;
  for (const char* special : kSpecials) {
    const auto found = ids.find(special);
    if (found != ids.end()) tokens.push_back({found->second, special, true, 0});
  }
  ImportedTokenizer model;
  const bool lower = ConfigFlag(config, "do_lower_case", rules != "bert-cased", path);
  model.options = {{"algorithm", "word_piece"},
                   {"lowercase", lower},
                   {"strip_accents", ConfigFlag(config, "strip_accents", lower, path)},
                   {"split_chinese", ConfigFlag(config, "tokenize_chinese_chars", true, path)}};
  const auto cls = ids.find("[CLS]"), sep = ids.find("[SEP]");
  if (cls != ids.end() && sep != ids.end()) {
    model.options["prefix_ids"] = {cls->second};
    model.options["suffix_ids"] = {sep->second};
    model.options["pairs"] = true;
  }
  SetPieceTables(vocabulary, false, &model);
  SetAddedTable(tokens, &model);
  Tokenizer::Create(model.options, model.Tables(), path);
  return model;
}

}  // namespace glint
