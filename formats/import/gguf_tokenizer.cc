// Tokenizers from the "tokenizer.ggml." keys of GGUF files (ggml/docs/gguf.md).
#include <algorithm>

#include "formats/import/gguf.h"
#include "formats/import/tokenizer_files.h"
#include "lib/error.h"
#include "lib/text/normalizer.h"
#include "lib/text/piece_index.h"
#include "lib/text/pre_tokenizer.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

using Json = nlohmann::json;

const std::string kKeys = "tokenizer.ggml.";

// tokenizer.ggml.pre: whose rules stand around the merges.
constexpr struct {
  const char* pre;
  const char* rules;
  bool ignore_merges, nfc, add_bos;
} kPre[] = {
    {"gpt-2", "gpt2", false, false, false},
    {"phi-2", "gpt2", false, false, false},
    {"llama3", "llama3", true, false, true},
    {"llama-v3", "llama3", true, false, true},
    {"llama-bpe", "llama3", true, false, true},
    {"qwen2", "qwen2", false, true, false},
    {"deepseek-r1-qwen", "qwen2", false, true, false},
    {"glm4", "glm4", true, false, false},
    {"chatglm-bpe", "glm4", true, false, false},
};

// GGUF's token types are sentencepiece's.
constexpr uint64_t kLastType = static_cast<uint64_t>(PieceType::kByte);

class VocabularyReader {
 public:
  explicit VocabularyReader(const Gguf& gguf)
      : metadata_(gguf.metadata()), where_(gguf.path() + ": tokenizer.ggml") {}

  std::optional<ImportedTokenizer> Read() {
    if (metadata_.Find(kKeys + "model") == nullptr) return std::nullopt;
    const std::string model(metadata_.String(kKeys + "model"));
    constexpr std::pair<std::string_view, void (VocabularyReader::*)()> kModels[] = {
        {"llama", &VocabularyReader::ReadLlama},
        {"gpt2", &VocabularyReader::ReadGpt2},
        {"bert", &VocabularyReader::ReadBert},
        {"t5", &VocabularyReader::ReadT5}};
    const auto row = std::find_if(std::begin(kModels), std::end(kModels),
                                  [&](const auto& known) { return known.first == model; });
    if (row == std::end(kModels)) {
      if (model == "none" || model == "no_vocab") return std::nullopt;
      throw Error(where_ + ".model: expected llama, gpt2, bert or t5, found " + Quoted(model));
    }
    ReadTokens();
    // Not every model uses these, but one out of range says that the vocabulary is not the model's.
    for (const char* key : {"bos_token_id", "eos_token_id", "unknown_token_id"}) Id(key);
    (this->*row->second)();
    SetAddedTable(added_, &out_);
    Tokenizer::Create(out_.options, out_.Tables(), where_);
    return std::move(out_);
  }

 private:
  bool Flag(const char* key, bool otherwise) const {
    const GgufValue* value = metadata_.Find(kKeys + key);
    if (value == nullptr) return otherwise;
    if (value->is_array || value->type != GgufType::kBool) {
      throw Error(where_ + "." + key + ": expected a bool, found " + value->TypeName());
    }
    return value->Item().get<bool>();
  }

  // -1: there is none.
  int32_t Id(const char* key) const {
    const std::string name = kKeys + key;
    if (metadata_.Find(name) == nullptr) return -1;
    return static_cast<int32_t>(metadata_.Uint(name, 0, texts_.size() - 1));
  }

  void ReadTokens() {
    const GgufValue& tokens = metadata_.Array(kKeys + "tokens", GgufType::kString);
    if (tokens.count == 0 || tokens.count > kMaxVocabulary) {
      throw Error(where_ + ".tokens: expected 1 to " + std::to_string(kMaxVocabulary) +
                  " tokens, found " + std::to_string(tokens.count));
    }
    for (uint64_t i = 0; i < tokens.count; ++i) texts_.emplace_back(tokens.String(i));
    types_.assign(texts_.size(), PieceType::kNormal);
    if (metadata_.Find(kKeys + "token_type") == nullptr) return;
    const GgufValue& types = metadata_.Array(kKeys + "token_type", GgufType::kI32);
    if (types.count != texts_.size()) {
      throw Error(where_ + ".token_type: expected " + std::to_string(texts_.size()) +
                  " types, found " + std::to_string(types.count));
    }
    for (uint64_t i = 0; i < types.count; ++i) {
      const int64_t type = types.Item(i).get<int64_t>();
      if (type < 0 || type > static_cast<int64_t>(kLastType)) {
        throw Error(where_ + ".token_type: token " + std::to_string(i) +
                    ": expected a type from 0 to 6, found " + std::to_string(type));
      }
      types_[i] = type == 0 ? PieceType::kNormal : static_cast<PieceType>(type);
    }
  }

  // bos and eos around a text.
  void SetEnds(bool bos, bool eos) {
    const auto set = [&](bool wanted, const char* key, const char* option) {
      if (!wanted) return;
      const int32_t id = Id(key);
      if (id < 0) throw Error(where_ + "." + key + " is missing, though the texts have it");
      out_.options[option] = {id};
    };
    set(Flag("add_bos_token", bos), "bos_token_id", "prefix_ids");
    set(Flag("add_eos_token", eos), "eos_token_id", "suffix_ids");
  }

  // Two pieces of one text: the merges could not tell which.
  void CheckUnique() const {
    std::vector<size_t> order(texts_.size());
    for (size_t id = 0; id < order.size(); ++id) order[id] = id;
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return texts_[a] < texts_[b]; });
    const auto twin = std::adjacent_find(order.begin(), order.end(), [&](size_t a, size_t b) {
      return texts_[a] == texts_[b];
    });
    if (twin == order.end()) return;
    throw Error(where_ + ".tokens: tokens " + std::to_string(std::min(twin[0], twin[1])) + " and " +
                std::to_string(std::max(twin[0], twin[1])) + " are both " + Quoted(texts_[*twin]));
  }

  // Pieces of sentencepiece, with their scores.
  void ReadPieces(const char* algorithm, bool remove_spaces) {
    const GgufValue& scores = metadata_.Array(kKeys + "scores", GgufType::kF32);
    if (scores.count != texts_.size()) {
      throw Error(where_ + ".scores: expected " + std::to_string(texts_.size()) +
                  " scores, found " + std::to_string(scores.count));
    }
    if (std::count(types_.begin(), types_.end(), PieceType::kUnknown) == 0) {
      const int32_t unk = Id("unknown_token_id");
      types_[unk < 0 ? 0 : static_cast<size_t>(unk)] = PieceType::kUnknown;
    }
    CheckUnique();
    const auto n_bytes = std::count(types_.begin(), types_.end(), PieceType::kByte);
    if (n_bytes != 0 && n_bytes != 256) {
      throw Error(where_ + ".token_type: expected a token for each of the 256 bytes or none, found " +
                  std::to_string(n_bytes));
    }
    const bool bytes = n_bytes == 256;
    for (size_t id = 0; id < texts_.size(); ++id) {
      const std::string& text = texts_[id];
      if (text.empty() || text.size() > kMaxPieceBytes || !IsUtf8(text)) {
        throw Error(where_ + ".tokens: token " + std::to_string(id) + ": expected UTF-8 of 1 to " +
                    std::to_string(kMaxPieceBytes) + " bytes, found " + Quoted(text));
      }
      out_.AppendPiece(text, types_[id]);
      out_.scores.push_back(scores.Item(id).get<float>());
      if (types_[id] == PieceType::kUserDefined) {
        added_.push_back({static_cast<int32_t>(id), text, false, 0});
      }
    }
    out_.options = {{"algorithm", algorithm},
                    {"byte_fallback", bytes},
                    {"escape_whitespaces", true},
                    {"add_dummy_prefix", Flag("add_space_prefix", true)},
                    {"remove_extra_whitespaces", Flag("remove_extra_whitespaces", remove_spaces)}};
    if (metadata_.Find(kKeys + "precompiled_charsmap") != nullptr) {
      const GgufValue& map = metadata_.Array(kKeys + "precompiled_charsmap", GgufType::kU8);
      out_.charsmap = map.bytes;
    }
    out_.index = BuildPieceIndex(out_.Tables());
  }

  void ReadLlama() {
    ReadPieces("bpe", false);
    SetEnds(true, false);
  }

  void ReadT5() {
    ReadPieces("unigram", true);
    SetEnds(false, true);
  }

  void ReadGpt2() {
    const std::string pre(metadata_.Find(kKeys + "pre") == nullptr
                              ? std::string_view("default")
                              : metadata_.String(kKeys + "pre"));
    const auto row = std::find_if(std::begin(kPre), std::end(kPre),
                                  [&](const auto& known) { return pre == known.pre; });
    if (row == std::end(kPre)) {
      std::string known;
      for (const auto& name : kPre) known += (known.empty() ? "" : ", ") + std::string(name.pre);
      throw Error(where_ + ".pre: expected a known pre-tokenizer (" + known + "), found " +
                  Quoted(pre));
    }
    out_.options = {{"algorithm", "byte_bpe"}, {"rules", row->rules}};
    if (row->ignore_merges) out_.options["ignore_merges"] = true;
    if (row->nfc) out_.options["nfc"] = true;
    if (Flag("add_space_prefix", false)) out_.options["add_prefix_space"] = true;
    Vocabulary vocabulary;
    std::string bytes;
    for (size_t id = 0; id < texts_.size(); ++id) {
      const PieceType type = types_[id];
      const bool special = type == PieceType::kControl || type == PieceType::kUnknown;
      if (special || type == PieceType::kUserDefined) {
        added_.push_back({static_cast<int32_t>(id), texts_[id], special, 0});
      } else if (type == PieceType::kUnused || !FromByteText(texts_[id], &bytes)) {
        vocabulary.Set(static_cast<int64_t>(id), texts_[id], PieceType::kUnused, where_);
      } else {
        vocabulary.Set(static_cast<int64_t>(id), bytes, PieceType::kNormal, where_);
      }
    }
    AddTokens(added_, &vocabulary, where_);
    SetMerges(vocabulary);
    SetEnds(row->add_bos, false);
  }

  void SetMerges(const Vocabulary& vocabulary) {
    const GgufValue& merges = metadata_.Array(kKeys + "merges", GgufType::kString);
    std::vector<std::string> parts;
    for (uint64_t i = 0; i < merges.count; ++i) {
      const std::string_view text = merges.String(i);
      const size_t space = text.find(' ', 1);
      std::string left, right;
      if (space == text.npos || !FromByteText(text.substr(0, space), &left) ||
          !FromByteText(text.substr(space + 1), &right)) {
        throw Error(where_ + ".merges: " + std::to_string(i) +
                    ": expected two tokens and a space between, found " + Quoted(text));
      }
      parts.push_back(std::move(left));
      parts.push_back(std::move(right));
    }
    std::vector<Merge> list;
    for (size_t i = 0; i < parts.size(); i += 2) list.emplace_back(parts[i], parts[i + 1]);
    SetMergedTables(vocabulary, list, true, where_ + ".merges", &out_);
  }

  // A word's first piece is written with U+2581 in front, others without their "##". Texts are
  // lowered whatever the model, as llama.cpp, for which these files are made, lowers them.
  void ReadBert() {
    Vocabulary vocabulary;
    for (size_t id = 0; id < texts_.size(); ++id) {
      std::string text = texts_[id];
      const bool named =
          types_[id] == PieceType::kControl || (text.starts_with('[') && text.ends_with(']'));
      if (text.starts_with(kSpaceSymbol)) {
        text.erase(0, kSpaceSymbol.size());
      } else if (!named) {
        text.insert(0, "##");
      }
      const bool seen = types_[id] == PieceType::kControl;
      if (seen) added_.push_back({static_cast<int32_t>(id), text, true, 0});
      vocabulary.Set(static_cast<int64_t>(id), text, PieceType::kNormal, where_);
    }
    out_.options = {{"algorithm", "word_piece"}};
    const int32_t unk = Id("unknown_token_id");
    if (unk >= 0) out_.options["unk_id"] = unk;
    const int32_t cls = Id("cls_token_id");
    // The format's own spelling, and the right one of later files.
    const int32_t old_sep = Id("seperator_token_id"), sep = Id("separator_token_id");
    if (cls >= 0) out_.options["prefix_ids"] = {cls};
    if (sep >= 0 || old_sep >= 0) out_.options["suffix_ids"] = {sep >= 0 ? sep : old_sep};
    if (cls >= 0 && (sep >= 0 || old_sep >= 0)) out_.options["pairs"] = true;
    SetPieceTables(vocabulary, false, &out_);
  }

  const GgufMetadata& metadata_;
  std::string where_;
  std::vector<std::string> texts_;
  std::vector<PieceType> types_;
  std::vector<AddedEntry> added_;
  ImportedTokenizer out_;
};

}  // namespace

std::optional<ImportedTokenizer> ReadGgufTokenizer(const Gguf& gguf) {
  return VocabularyReader(gguf).Read();
}

}  // namespace glint
