#include "lib/text/piece_tokenizer.h"

#include <algorithm>
#include <cmath>

#include "lib/error.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

// The byte that "<0xNN>" names, or -1.
int32_t ByteOf(std::string_view piece) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const size_t high = kDigits.find(piece[3]);
  const size_t low = kDigits.find(piece[4]);
  if (high == kDigits.npos || low == kDigits.npos) return -1;
  return static_cast<int32_t>(16 * high + low);
}

std::string PieceName(size_t id) {
  return ": piece " + std::to_string(id);
}

}  // namespace

PieceTokenizer::PieceTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                               const std::string& where)
    : tables_(tables), options_(options) {
  CheckTables(where);
  if (tables_.index.empty()) {
    own_index_ = BuildPieceIndex(tables_);
    tables_.index = own_index_;
  }
  if (tables_.index.size() % 2 != 0 || tables_.index.size() / 2 > UINT32_MAX / 2) {
    throw Error(where + ": index: expected pairs of numbers, found " +
                std::to_string(tables_.index.size()) + " numbers");
  }
  index_ = PieceIndex(tables_);
  ReadPieces(where);
  CheckIds(where);
  normalizer_ = std::make_unique<Normalizer>(options_.normalizer, tables_, index_, where);
}

void PieceTokenizer::CheckTables(const std::string& where) const {
  const size_t n = tables_.piece_ends.size();
  if (n == 0 || n > INT32_MAX / 2 || tables_.scores.size() != n || tables_.types.size() != n) {
    throw Error(where + ": expected as many piece ends, scores and types, at least 1, found " +
                std::to_string(n) + ", " + std::to_string(tables_.scores.size()) + ", " +
                std::to_string(tables_.types.size()));
  }
  const std::string_view all(reinterpret_cast<const char*>(tables_.piece_bytes.data()),
                             tables_.piece_bytes.size());
  int64_t begin = 0;
  for (size_t id = 0; id < n; ++id) {
    const int64_t end = tables_.piece_ends[id];
    const bool fits = end > begin && end - begin <= static_cast<int64_t>(kMaxPieceBytes) &&
                      end <= static_cast<int64_t>(all.size());
    if (!fits) {
      throw Error(where + PieceName(id) + ": expected 1 to " + std::to_string(kMaxPieceBytes) +
                  " bytes within " + std::to_string(all.size()) + ", found bytes " +
                  std::to_string(begin) + " to " + std::to_string(end));
    }
    if (IsContinuation(all[static_cast<size_t>(begin)])) {
      throw Error(where + PieceName(id) + ": expected UTF-8, found half a character");
    }
    begin = end;
  }
  if (static_cast<size_t>(begin) != all.size() || !IsUtf8(all)) {
    throw Error(where + ": pieces: expected " + std::to_string(begin) +
                " bytes of UTF-8, found other bytes");
  }
}

// Passes once over the types; the few pieces that are not normal are remembered.
void PieceTokenizer::ReadPieces(const std::string& where) {
  byte_ids_.fill(-1);
  size_t n_unknown = 0;
  for (size_t id = 0; id < tables_.types.size(); ++id) {
    if (!std::isfinite(tables_.scores[id])) {
      throw Error(where + PieceName(id) + ": expected a finite score");
    }
    const auto type = static_cast<PieceType>(tables_.types[id]);
    if (type == PieceType::kNormal) continue;
    if (type < PieceType::kNormal || type > PieceType::kByte) {
      throw Error(where + PieceName(id) + ": expected a type from 1 to 6, found " +
                  std::to_string(tables_.types[id]));
    }
    if (type == PieceType::kUnused) continue;
    const std::string_view piece = PieceOf(tables_, id);
    if (type != PieceType::kByte) {
      specials_.push_back({piece, static_cast<uint32_t>(id)});
      if (type == PieceType::kUnknown) {
        unk_ = static_cast<uint32_t>(id);
        n_unknown++;
      }
      continue;
    }
    const int32_t byte = ByteOf(piece);
    if (byte < 0) throw Error(where + PieceName(id) + ": expected <0xNN>, found " + Quoted(piece));
    byte_ids_[static_cast<size_t>(byte)] = static_cast<int32_t>(id);
  }
  if (n_unknown != 1) {
    throw Error(where + ": expected one piece of type unknown, found " + std::to_string(n_unknown));
  }
  if (options_.byte_fallback && std::count(byte_ids_.begin(), byte_ids_.end(), -1) != 0) {
    throw Error(where + ": byte_fallback: expected 256 byte pieces, found " +
                std::to_string(256 - std::count(byte_ids_.begin(), byte_ids_.end(), -1)));
  }
}

void PieceTokenizer::CheckIds(const std::string& where) const {
  const int64_t expected = int64_t{unk_} + options_.id_offset;
  if (options_.unk_id != -1 && options_.unk_id != expected) {
    throw Error(where + ": unk_id: expected " + std::to_string(expected) +
                ", the piece of type unknown, found " + std::to_string(options_.unk_id));
  }
}

int32_t PieceTokenizer::FindSpecial(std::string_view piece) const {
  for (const auto& [text, id] : specials_) {
    if (text == piece) return static_cast<int32_t>(id) + options_.id_offset;
  }
  return -1;
}

std::string_view PieceTokenizer::TextOf(int32_t id) const {
  return id < options_.id_offset ? "" : PieceOf(tables_, static_cast<size_t>(id) - offset());
}

void PieceTokenizer::Write(uint32_t id, std::string_view piece, bool* after_unknown,
                           std::vector<int32_t>* ids) const {
  const bool unknown = id == unk_;
  if (unknown && options_.byte_fallback) {
    for (const char c : piece) {
      ids->push_back(byte_ids_[static_cast<uint8_t>(c)] + options_.id_offset);
    }
  } else if (!unknown || !*after_unknown) {
    ids->push_back(static_cast<int32_t>(id) + options_.id_offset);
  }
  *after_unknown = unknown;
}

// Moves whole characters from the byte pieces to `out`; a byte that begins none becomes U+FFFD.
// Bytes that may yet become a character stay, unless the run of byte pieces is `complete`.
void PieceTokenizer::FlushBytes(bool complete, DecodeState* state, std::string* out) const {
  std::string_view bytes = state->bytes;
  while (!bytes.empty()) {
    const CodePoint c = FirstCodePoint(bytes);
    if (c.value < 0 && !complete && bytes.size() < NominalBytes(bytes[0]) &&
        std::all_of(bytes.begin() + 1, bytes.end(), IsContinuation)) {
      break;
    }
    *out += c.value < 0 ? kReplacement : bytes.substr(0, c.bytes);
    bytes.remove_prefix(c.bytes);
    state->any_text = true;
  }
  state->bytes.erase(0, state->bytes.size() - bytes.size());
}

void PieceTokenizer::DecodeStep(int32_t model_id, DecodeState* state, std::string* out) const {
  const int64_t id = int64_t{model_id} - options_.id_offset;
  if (id < 0 || id >= static_cast<int64_t>(tables_.piece_ends.size())) return;
  std::string_view piece = PieceOf(tables_, static_cast<size_t>(id));
  const auto type = static_cast<PieceType>(tables_.types[static_cast<size_t>(id)]);
  if (type == PieceType::kByte) {
    state->bytes += static_cast<char>(ByteOf(piece));
    FlushBytes(false, state, out);
    return;
  }
  FlushBytes(true, state, out);
  if (state->space_dropped || state->any_text) state->at_start = false;
  state->space_dropped = false;
  if (type == PieceType::kControl) return;
  if (type == PieceType::kUnknown) {
    *out += options_.unk_surface;
    state->any_text = state->any_text || !options_.unk_surface.empty();
    return;
  }
  const NormalizerOptions& rules = options_.normalizer;
  const bool drop = rules.add_dummy_prefix || rules.remove_extra_whitespaces;
  if (state->at_start && drop && piece.starts_with(kSpaceSymbol)) {
    piece.remove_prefix(kSpaceSymbol.size());
    // If extra spaces are removed, every leading one goes; else only the dummy one.
    state->space_dropped = !rules.remove_extra_whitespaces;
  }
  state->any_text = state->any_text || !piece.empty();
  for (size_t at; (at = piece.find(kSpaceSymbol)) != piece.npos;) {
    (*out += piece.substr(0, at)) += ' ';
    piece.remove_prefix(at + kSpaceSymbol.size());
  }
  *out += piece;
}

void PieceTokenizer::DecodeEnd(DecodeState* state, std::string* out) const {
  FlushBytes(true, state, out);
  *state = DecodeState();
}

}  // namespace glint
