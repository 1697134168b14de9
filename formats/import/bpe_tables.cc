#include "formats/import/bpe_tables.h"

#include <algorithm>

#include "lib/error.h"
#include "lib/text/merge_builder.h"
#include "lib/text/piece_index.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr size_t kMaxGap = 65536;  // ids without a text in front of one that has

// GPT-2's bytes_to_unicode: printable characters of Latin-1 stand for themselves, the other bytes,
// in order, for U+0100 and what follows.
bool IsPrintable(int32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// By code point; -1: none.
const std::array<int16_t, 0x144>& BytesOfCharacters() {
  static const auto table = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    size_t next = 0x100;
    for (int32_t byte = 0; byte < 256; ++byte) {
      const size_t character = IsPrintable(byte) ? static_cast<size_t>(byte) : next++;
      bytes[character] = static_cast<int16_t>(byte);
    }
    return bytes;
  }();
  return table;
}

bool IsInitial(std::string_view text, bool byte_level) {
  if (text.empty()) return false;
  return byte_level ? text.size() == 1 : FirstCodePoint(text).bytes == text.size();
}

// Says which normal pieces are there from the start.
void AddInitial(const Vocabulary& vocabulary, bool byte_level, const std::string& where,
                MergeBuilder* builder) {
  std::array<bool, 256> has = {};
  for (size_t id = 0; id < vocabulary.texts.size(); ++id) {
    const std::string& text = vocabulary.texts[id];
    if (vocabulary.types[id] != PieceType::kNormal || !IsInitial(text, byte_level)) continue;
    builder->AddInitial(static_cast<int32_t>(id));
    has[static_cast<uint8_t>(text[0])] = true;
  }
  if (!byte_level) return;
  const auto missing = std::find(has.begin(), has.end(), false);
  if (missing == has.end()) return;
  throw Error(where + ": expected a piece for each of 256 bytes, byte " +
              std::to_string(missing - has.begin()) + " has none");
}

// Pieces that no merges make are found whole only.
void Finish(const Vocabulary& vocabulary, bool byte_level, MergeBuilder* builder,
            ImportedTokenizer* model) {
  Vocabulary marked;
  marked.types = vocabulary.types;
  for (size_t id = 0; id < marked.types.size(); ++id) {
    if (marked.types[id] == PieceType::kNormal && !builder->IsMade(static_cast<int32_t>(id))) {
      marked.types[id] = PieceType::kUnused;
    }
  }
  marked.texts = vocabulary.texts;
  SetPieceTables(marked, byte_level, model);
  builder->Finish(model->Tables());
  model->splits = builder->TakeSplits();
  model->pairs = builder->TakePairs();
}

}  // namespace

void Vocabulary::Set(int64_t id, std::string text, PieceType type, const std::string& where) {
  const int64_t n = static_cast<int64_t>(texts.size());
  if (id < 0 || id >= static_cast<int64_t>(kMaxVocabulary) ||
      id > n + static_cast<int64_t>(kMaxGap)) {
    throw Error(where + ": token " + Quoted(text) + ": expected an id near the " +
                std::to_string(n) + " before it, found " + std::to_string(id));
  }
  if (text.size() > kMaxPieceBytes) {
    throw Error(where + ": token " + std::to_string(id) + ": expected at most " +
                std::to_string(kMaxPieceBytes) + " bytes, found " + std::to_string(text.size()));
  }
  if (id >= n) {
    texts.resize(static_cast<size_t>(id) + 1);
    types.resize(texts.size(), PieceType::kUnused);
  }
  const size_t i = static_cast<size_t>(id);
  if (!texts[i].empty()) {
    throw Error(where + ": id " + std::to_string(id) + " has two tokens, " + Quoted(texts[i]) +
                " and " + Quoted(text));
  }
  texts[i] = std::move(text);
  types[i] = type;
}

std::unordered_map<std::string_view, int32_t> Vocabulary::Ids() const {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(texts.size());
  for (size_t id = 0; id < texts.size(); ++id) {
    if (types[id] == PieceType::kNormal) ids.emplace(texts[id], static_cast<int32_t>(id));
  }
  return ids;
}

bool FromByteText(std::string_view text, std::string* bytes) {
  bytes->clear();
  const auto& table = BytesOfCharacters();
  while (!text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    if (c.value < 0 || static_cast<size_t>(c.value) >= table.size()) return false;
    const int16_t byte = table[static_cast<size_t>(c.value)];
    if (byte < 0) return false;
    *bytes += static_cast<char>(byte);
    text.remove_prefix(c.bytes);
  }
  return true;
}

void AddTokens(const std::vector<AddedEntry>& tokens, Vocabulary* vocabulary,
               const std::string& where) {
  for (const AddedEntry& token : tokens) {
    if (token.id >= 0 && static_cast<size_t>(token.id) < vocabulary->texts.size()) {
      std::string& text = vocabulary->texts[static_cast<size_t>(token.id)];
      std::string bytes;
      const bool same =
          text.empty() || text == token.text || (FromByteText(token.text, &bytes) && text == bytes);
      if (!same) {
        throw Error(where + ": added token " + Quoted(token.text) + ": id " +
                    std::to_string(token.id) + " is that of " + Quoted(text));
      }
      text.clear();
    }
    vocabulary->Set(token.id, token.text,
                    token.special ? PieceType::kControl : PieceType::kUserDefined, where);
  }
}

void SetPieceTables(const Vocabulary& vocabulary, bool bytes, ImportedTokenizer* model) {
  for (size_t id = 0; id < vocabulary.texts.size(); ++id) {
    model->AppendPiece(vocabulary.texts[id], vocabulary.types[id]);
  }
  model->index = BuildPieceIndex(model->Tables(), bytes);
}

void SetAddedTable(const std::vector<AddedEntry>& tokens, ImportedTokenizer* model) {
  for (const AddedEntry& token : tokens) {
    model->added.insert(model->added.end(), {token.id, token.flags});
  }
}

void SetMergedTables(const Vocabulary& vocabulary, const std::vector<Merge>& merges,
                     bool byte_level, const std::string& where, ImportedTokenizer* model) {
  MergeBuilder builder(vocabulary.texts.size());
  AddInitial(vocabulary, byte_level, where, &builder);
  const auto ids = vocabulary.Ids();
  std::string joined;
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    (joined = left) += right;
    const auto l = ids.find(left), r = ids.find(right), j = ids.find(joined);
    if (l == ids.end() || r == ids.end() || j == ids.end()) {
      const std::string_view missing = l == ids.end() ? left : r == ids.end() ? right : joined;
      throw Error(where + ": merge " + std::to_string(i) + ": " + Quoted(missing) +
                  " is not in the vocabulary");
    }
    builder.Add(l->second, r->second, j->second);
  }
  Finish(vocabulary, byte_level, &builder, model);
}

void SetRankedTables(const Vocabulary& vocabulary, const std::string& where,
                     ImportedTokenizer* model) {
  MergeBuilder builder(vocabulary.texts.size());
  AddInitial(vocabulary, true, where, &builder);
  const auto ids = vocabulary.Ids();
  for (size_t id = 0; id < vocabulary.texts.size(); ++id) {
    const std::string_view text = vocabulary.texts[id];
    const int32_t joined = static_cast<int32_t>(id);
    if (vocabulary.types[id] != PieceType::kNormal) continue;
    for (size_t cut = 1; cut < text.size() && !builder.IsMade(joined); ++cut) {
      const auto left = ids.find(text.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(text.substr(cut));
      if (right != ids.end()) builder.Add(left->second, right->second, joined);
    }
  }
  Finish(vocabulary, true, &builder, model);
}

}  // namespace glint
