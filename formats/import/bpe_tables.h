#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "formats/import/imported_tokenizer.h"

namespace glint {

inline constexpr uint64_t kMaxVocabularyFileBytes = uint64_t{1}
                                                    << 26;  // Gemma's tokenizer.json: 33 MB
inline constexpr size_t kMaxVocabulary = size_t{1} << 22;   // ids

// A token that a file adds to a vocabulary, as Hugging Face's files describe it.
struct AddedEntry {
  int32_t id = 0;
  std::string text;
  bool special = true;  // not shown by decoding
  int32_t flags = 0;    // of AddedToken
};

// A vocabulary as files have it, on the way to tables: texts by id, in the form in which merges see
// them; empty where an id has none.
struct Vocabulary {
  std::vector<std::string> texts;
  std::vector<PieceType> types;  // as texts

  // Throws Error beginning with `where`: an id that is taken, out of bounds, or far beyond the
  // others.
  void Set(int64_t id, std::string text, PieceType type, const std::string& where);
  // The first id of each text that is normal. Its keys are views of `texts`: good until Set.
  std::unordered_map<std::string_view, int32_t> Ids() const;
};

// The text that GPT-2's vocabularies write for bytes ("\u0120" for a space), as bytes. False: a
// character stands for none.
bool FromByteText(std::string_view text, std::string* bytes);

// Adds the tokens to the vocabulary: their texts, their types. An id that the vocabulary has must
// have that text, or another that it had in byte text.
void AddTokens(const std::vector<AddedEntry>& tokens, Vocabulary* vocabulary,
               const std::string& where);

using Merge = std::pair<std::string_view, std::string_view>;

// Pieces, types, index and merges as tables. `byte_level`: pieces are bytes, from all 256 of which
// merges start; else they are UTF-8 and merges start from characters.
void SetMergedTables(const Vocabulary& vocabulary, const std::vector<Merge>& merges,
                     bool byte_level, const std::string& where, ImportedTokenizer* model);
// The same from ranks alone (tiktoken): neighbours join whose bytes together are a piece, that of
// the lowest id first.
void SetRankedTables(const Vocabulary& vocabulary, const std::string& where,
                     ImportedTokenizer* model);
// Every vocabulary: pieces, types, index; added tokens.
void SetPieceTables(const Vocabulary& vocabulary, bool bytes, ImportedTokenizer* model);
void SetAddedTable(const std::vector<AddedEntry>& tokens, ImportedTokenizer* model);

}  // namespace glint
