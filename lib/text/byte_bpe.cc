#include "lib/text/byte_bpe.h"

#include "lib/error.h"
#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

// Appends the characters that are certain; what may yet become one stays, unless `complete`.
void FlushBytes(bool complete, std::string* bytes, std::string* out) {
  std::string_view rest = *bytes;
  size_t whole = 0;
  while (whole < rest.size()) {
    const std::string_view at = rest.substr(whole);
    const CodePoint c = FirstCodePoint(at);
    if (c.value >= 0) {
      whole += c.bytes;
      continue;
    }
    bool open;
    const size_t n = InvalidBytes(at, &open);
    if (open && !complete) break;
    *out += rest.substr(0, whole);
    *out += kReplacement;
    rest.remove_prefix(whole + n);
    whole = 0;
  }
  *out += rest.substr(0, whole);
  rest.remove_prefix(whole);
  bytes->erase(0, bytes->size() - rest.size());
}

}  // namespace

void CheckPieces(const TokenizerTables& tables, const std::string& where) {
  const size_t n = tables.piece_ends.size();
  if (n == 0 || n > INT32_MAX / 2 || tables.types.size() != n) {
    throw Error(where + ": expected as many piece ends and types, at least 1, found " +
                std::to_string(n) + ", " + std::to_string(tables.types.size()));
  }
  int64_t begin = 0;
  for (size_t id = 0; id < n; ++id) {
    const int64_t end = tables.piece_ends[id];
    const bool fits = end >= begin && end - begin <= static_cast<int64_t>(kMaxPieceBytes) &&
                      end <= static_cast<int64_t>(tables.piece_bytes.size());
    if (!fits || tables.types[id] < 1 || tables.types[id] > 6) {
      throw Error(where + ": piece " + std::to_string(id) + ": expected at most " +
                  std::to_string(kMaxPieceBytes) + " bytes within " +
                  std::to_string(tables.piece_bytes.size()) + " and a type from 1 to 6, found " +
                  "bytes " + std::to_string(begin) + " to " + std::to_string(end) + ", type " +
                  std::to_string(tables.types[id]));
    }
    begin = end;
  }
  if (static_cast<size_t>(begin) != tables.piece_bytes.size()) {
    throw Error(where + ": pieces: expected " + std::to_string(begin) + " bytes, found " +
                std::to_string(tables.piece_bytes.size()));
  }
}

void CheckIndex(const TokenizerTables& tables, const std::string& where) {
  const size_t n = tables.index.size();
  if (n == 0 || n % 2 != 0 || n / 2 > UINT32_MAX / 2) {
    throw Error(where + ": index: expected pairs of numbers, found " + std::to_string(n) +
                " numbers");
  }
}

ByteBpeTokenizer::ByteBpeTokenizer(const ByteBpeOptions& options, const PreTokenizer& words,
                                   const TokenizerTables& tables, const std::string& where)
    : options_(options), words_(words), tables_(tables) {
  CheckPieces(tables_, where);
  if (tables_.index.empty()) {
    own_index_ = BuildPieceIndex(tables_, true);
    tables_.index = own_index_;
  }
  CheckIndex(tables_, where);
  merger_ = Merger(tables_, PieceIndex(tables_), where);
}

void ByteBpeTokenizer::Normalize(std::string_view text, bool first, std::string* out) const {
  out->clear();
  out->reserve(text.size() + 1);
  if (options_.add_prefix_space && first && !text.empty() &&
      !IsWhiteSpace(FirstCodePoint(text).value)) {
    *out += ' ';
  }
  if (!options_.nfc) {
    AppendValid(text, out);
    return;
  }
  std::string valid;
  AppendValid(text, &valid);
  AppendNfc(valid, out);
}

void ByteBpeTokenizer::AppendNormalized(std::string_view normalized,
                                        std::vector<int32_t>* ids) const {
  Merger::Scratch scratch;
  while (!normalized.empty()) {
    const size_t bytes = words_.first_word(normalized);
    merger_.Append(normalized.substr(0, bytes), options_.ignore_merges, &scratch, ids);
    normalized.remove_prefix(bytes);
  }
}

std::string_view ByteBpeTokenizer::TextOf(int32_t id) const {
  return PieceOf(tables_, static_cast<size_t>(id));
}

void ByteBpeTokenizer::DecodeStep(int32_t id, DecodeState* state, std::string* out) const {
  if (id < 0 || static_cast<size_t>(id) >= size()) return;
  const auto type = static_cast<PieceType>(tables_.types[static_cast<size_t>(id)]);
  if (type == PieceType::kControl) return;
  // An added token is a text of its own.
  if (type == PieceType::kUserDefined) FlushBytes(true, &state->bytes, out);
  state->bytes += TextOf(id);
  FlushBytes(type == PieceType::kUserDefined, &state->bytes, out);
}

void ByteBpeTokenizer::DecodeEnd(DecodeState* state, std::string* out) const {
  FlushBytes(true, &state->bytes, out);
  *state = DecodeState();
}

}  // namespace glint
