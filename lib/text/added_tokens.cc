#include "lib/text/added_tokens.h"

#include <algorithm>

#include "lib/error.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

std::string_view TrimRight(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && IsContinuation(text[begin])) begin--;
    const CodePoint c = FirstCodePoint(text.substr(begin));
    if (c.bytes != text.size() - begin || !IsWhiteSpace(c.value)) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

size_t LeadingSpace(std::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size()) {
    const CodePoint c = FirstCodePoint(text.substr(bytes));
    if (!IsWhiteSpace(c.value)) break;
    bytes += c.bytes;
  }
  return bytes;
}

}  // namespace

void TokenFinder::Add(std::string_view text, const AddedToken& token) {
  tokens_.push_back(token);
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  ends_.push_back(static_cast<int32_t>(bytes_.size()));
  types_.push_back(static_cast<uint8_t>(PieceType::kNormal));
  begins_[static_cast<uint8_t>(text[0])] = true;
}

void TokenFinder::Finish(const std::string& where) {
  TokenizerTables tables;
  tables.piece_bytes = bytes_;
  tables.piece_ends = ends_;
  tables.types = types_;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view text = PieceOf(tables, i);
    if (!text.empty() && text.find('\0') == text.npos && IsUtf8(text)) continue;
    throw Error(where + ": added token " + std::to_string(tokens_[i].id) +
                ": expected a text without zero bytes, found " + Quoted(text));
  }
  index_data_ = BuildPieceIndex(tables);
  tables.index = index_data_;
  index_ = PieceIndex(tables);
}

const AddedToken* TokenFinder::Find(std::string_view text, bool parsed, size_t from, size_t* at,
                                    size_t* bytes) const {
  if (tokens_.empty()) return nullptr;
  for (*at = from; *at < text.size(); ++*at) {
    if (!begins_[static_cast<uint8_t>(text[*at])]) continue;
    const AddedToken* found = nullptr;
    index_.ForEachPrefix(text.substr(*at), [&](uint32_t i, size_t n) {
      if (!parsed && (tokens_[i].flags & AddedToken::kParsedOnly) != 0) return;
      found = &tokens_[i];
      *bytes = n;
    });
    if (found != nullptr) return found;
  }
  return nullptr;
}

AddedTokenizer::AddedTokenizer(std::unique_ptr<StretchTokenizer> algorithm, Options options,
                               const TokenizerTables& tables, const std::string& where)
    : algorithm_(std::move(algorithm)), options_(std::move(options)) {
  if (tables.added.size() % 2 != 0) {
    throw Error(where + ": added: expected pairs of an id and flags, found " +
                std::to_string(tables.added.size()) + " numbers");
  }
  CheckIds(options_.prefix, "prefix_ids", where);
  CheckIds(options_.suffix, "suffix_ids", where);
  std::vector<AddedToken> tokens;
  std::vector<int32_t> ids;
  for (size_t i = 0; i < tables.added.size(); i += 2) {
    tokens.push_back({tables.added[i], tables.added[i + 1]});
    ids.push_back(tables.added[i]);
    if ((tokens.back().flags & ~AddedToken::kAllFlags) != 0) {
      throw Error(where + ": added token " + std::to_string(tokens.back().id) + ": unknown flags " +
                  std::to_string(tokens.back().flags));
    }
  }
  CheckIds(ids, "added", where);
  std::sort(ids.begin(), ids.end());
  const size_t offset = size() - tables.types.size();
  for (size_t i = 0; i < tables.types.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i + offset);
    if (tables.types[i] == static_cast<uint8_t>(PieceType::kControl) &&
        !std::binary_search(ids.begin(), ids.end(), id)) {
      tokens.push_back({id, AddedToken::kParsedOnly});
    }
  }
  normalized_texts_.reserve(tokens.size());
  for (const AddedToken& token : tokens) {
    named_.push_back(token.id);
    std::string_view text = algorithm_->TextOf(token.id);
    if (text.empty()) {
      throw Error(where + ": added token " + std::to_string(token.id) + " has no text");
    }
    if ((token.flags & AddedToken::kNormalized) == 0) {
      raw_.Add(text, token);
      continue;
    }
    algorithm_->Normalize(text, true, &normalized_texts_.emplace_back());
    if (!normalized_texts_.back().empty()) normalized_.Add(normalized_texts_.back(), token);
  }
  raw_.Finish(where);
  normalized_.Finish(where);
}

void AddedTokenizer::CheckIds(const std::vector<int32_t>& ids, const char* name,
                              const std::string& where) const {
  for (const int32_t id : ids) {
    if (id >= 0 && static_cast<size_t>(id) < size()) continue;
    throw Error(where + ": " + name + ": expected ids below " + std::to_string(size()) +
                ", found " + std::to_string(id));
  }
}

// Writes the ids of tokens and calls stretch(text, first) for what lies between.
template <class Stretch>
void AddedTokenizer::ForEachStretch(const TokenFinder& finder, std::string_view text, bool parsed,
                                    std::vector<int32_t>* ids, Stretch stretch) const {
  size_t begin = 0, at, bytes;
  while (const AddedToken* token = finder.Find(text, parsed, begin, &at, &bytes)) {
    std::string_view before = text.substr(begin, at - begin);
    if ((token->flags & AddedToken::kLeftStrip) != 0) before = TrimRight(before);
    if (!before.empty()) stretch(before, begin == 0);
    ids->push_back(token->id);
    begin = at + bytes;
    if ((token->flags & AddedToken::kRightStrip) != 0) begin += LeadingSpace(text.substr(begin));
  }
  if (begin < text.size()) stretch(text.substr(begin), begin == 0);
}

void AddedTokenizer::AppendStretch(std::string_view text, bool first, bool parsed,
                                   std::vector<int32_t>* ids) const {
  std::string normalized;
  algorithm_->Normalize(text, first, &normalized);
  if (normalized_.empty()) {
    algorithm_->AppendNormalized(normalized, ids);
    return;
  }
  ForEachStretch(normalized_, normalized, parsed, ids, [&](std::string_view stretch, bool) {
    algorithm_->AppendNormalized(stretch, ids);
  });
}

void AddedTokenizer::Append(std::string_view text, bool parsed, std::vector<int32_t>* ids) const {
  ForEachStretch(raw_, text, parsed, ids, [&](std::string_view stretch, bool first) {
    AppendStretch(stretch, first, parsed, ids);
  });
}

std::vector<int32_t> AddedTokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  Append(text, false, &ids);
  return ids;
}

std::vector<int32_t> AddedTokenizer::EncodeParsed(std::string_view text) const {
  std::vector<int32_t> ids;
  Append(text, true, &ids);
  return ids;
}

std::vector<int32_t> AddedTokenizer::EncodePlain(std::string_view text) const {
  return algorithm_->Encode(text);
}

std::vector<int32_t> AddedTokenizer::EncodeWithSpecial(std::string_view text) const {
  std::vector<int32_t> ids = options_.prefix;
  Append(text, false, &ids);
  ids.insert(ids.end(), options_.suffix.begin(), options_.suffix.end());
  return ids;
}

bool AddedTokenizer::EncodePair(std::string_view a, std::string_view b, std::vector<int32_t>* ids,
                                std::vector<int32_t>* token_types) const {
  if (!options_.pairs) return false;
  *ids = EncodeWithSpecial(a);
  token_types->assign(ids->size(), 0);
  Append(b, false, ids);
  ids->insert(ids->end(), options_.suffix.begin(), options_.suffix.end());
  token_types->resize(ids->size(), 1);
  return true;
}

int32_t AddedTokenizer::FindToken(std::string_view text) const {
  for (const int32_t id : named_) {
    if (algorithm_->TextOf(id) == text) return id;
  }
  return algorithm_->FindToken(text);
}

}  // namespace glint
