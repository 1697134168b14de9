#include "lib/text/unigram.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "lib/error.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr float kUnknownPenalty = 10.0f;

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

UnigramTokenizer::UnigramTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                                   const std::string& where)
    : options_(options), tables_(tables) {
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

void UnigramTokenizer::CheckTables(const std::string& where) const {
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
void UnigramTokenizer::ReadPieces(const std::string& where) {
  min_score_ = FLT_MAX;
  max_score_ = FLT_MIN;  // as published, though it is the least positive number
  byte_ids_.fill(-1);
  size_t n_unknown = 0;
  for (size_t id = 0; id < tables_.types.size(); ++id) {
    if (!std::isfinite(tables_.scores[id])) {
      throw Error(where + PieceName(id) + ": expected a finite score");
    }
    const auto type = static_cast<PieceType>(tables_.types[id]);
    if (type == PieceType::kNormal) {
      min_score_ = std::min(min_score_, tables_.scores[id]);
      max_score_ = std::max(max_score_, tables_.scores[id]);
      continue;
    }
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

void UnigramTokenizer::CheckIds(const std::string& where) const {
  const int64_t expected = int64_t{unk_} + options_.id_offset;
  if (options_.unk_id != -1 && options_.unk_id != expected) {
    throw Error(where + ": unk_id: expected " + std::to_string(expected) +
                ", the piece of type unknown, found " + std::to_string(options_.unk_id));
  }
}

int32_t UnigramTokenizer::FindSpecial(std::string_view piece) const {
  for (const auto& [text, id] : specials_) {
    if (text == piece) return static_cast<int32_t>(id) + options_.id_offset;
  }
  return -1;
}

// The best way to cut a text, found from left to right. Where no piece crosses a boundary, the best
// way up to it is settled and given out: so memory follows the longest stretch without such a
// place.
struct UnigramTokenizer::Segmentation {
  struct Node {  // the best way that ends here
    float score = 0.0f;
    uint32_t id = 0;
    uint32_t bytes = 0;  // of its last piece; 0: no way ends here yet
  };

  Segmentation(const UnigramTokenizer& rules, std::string_view normalized,
               std::vector<int32_t>* out)
      : tokenizer(rules), text(normalized), ids(out) {}

  const UnigramTokenizer& tokenizer;
  std::string_view text;
  std::vector<int32_t>* ids;
  std::vector<Node> nodes = {Node()};  // node i is at byte begin + i
  std::vector<size_t> path;            // ends of pieces, last first
  size_t begin = 0;
  bool after_unknown = false;

  // Sums are stored as float. sentencepiece adds and compares the scores of pieces in double and
  // that of the unknown piece in float; so must we, or nearly equal ways would be chosen otherwise.
  template <class Score>
  void Offer(size_t from, size_t bytes, uint32_t id, Score score) {
    Node& node = nodes[from - begin + bytes];
    const Score sum = score + static_cast<Score>(nodes[from - begin].score);
    if (node.bytes != 0 && !(sum > static_cast<Score>(node.score))) return;
    node = {static_cast<float>(sum), id, static_cast<uint32_t>(bytes)};
  }

  void Run() {
    size_t reach = 0;  // end of the longest piece so far
    for (size_t at = 0; at < text.size();) {
      if (reach <= at) GiveOut(at);
      const size_t character = std::min<size_t>(NominalBytes(text[at]), text.size() - at);
      reach = std::max(reach, at + OfferPieces(at, character));
      at += character;
    }
    GiveOut(text.size());
  }

  // Offers every piece that begins at `at`; returns the bytes of the longest.
  size_t OfferPieces(size_t at, size_t character) {
    const TokenizerTables& tables = tokenizer.tables_;
    bool has_single = false;
    size_t longest = character;
    Reserve(at - begin + character);
    tokenizer.index_.ForEachPrefix(text.substr(at), [&](uint32_t id, size_t bytes) {
      const auto type = static_cast<PieceType>(tables.types[id]);
      Reserve(at - begin + bytes);
      if (type == PieceType::kNormal) {
        Offer(at, bytes, id, static_cast<double>(tables.scores[id]));
      } else if (type == PieceType::kUserDefined) {
        Offer(at, bytes, id, static_cast<float>(bytes) * tokenizer.max_score_ - 0.1);
      } else {
        return;
      }
      longest = std::max(longest, bytes);
      has_single = has_single || bytes == character;
    });
    if (!has_single) Offer(at, character, tokenizer.unk_, tokenizer.min_score_ - kUnknownPenalty);
    return longest;
  }

  void Reserve(size_t last) {
    if (last >= nodes.size()) nodes.resize(last + 1);
  }

  // Writes the ids of the best way from `begin` to `end` and begins anew there.
  void GiveOut(size_t end) {
    path.clear();
    for (size_t at = end; at > begin; at -= nodes[at - begin].bytes) path.push_back(at);
    while (!path.empty()) {
      const Node& node = nodes[path.back() - begin];
      Write(node.id, text.substr(path.back() - node.bytes, node.bytes));
      path.pop_back();
    }
    nodes[0] = {nodes[end - begin].score, 0, 0};
    nodes.resize(1);
    begin = end;
  }

  // Unknown characters become their bytes, or one id for a run of them.
  void Write(uint32_t id, std::string_view piece) {
    const int32_t offset = tokenizer.options_.id_offset;
    const bool unknown = id == tokenizer.unk_;
    if (unknown && tokenizer.options_.byte_fallback) {
      for (const char c : piece) {
        ids->push_back(tokenizer.byte_ids_[static_cast<uint8_t>(c)] + offset);
      }
    } else if (!unknown || !after_unknown) {
      ids->push_back(static_cast<int32_t>(id) + offset);
    }
    after_unknown = unknown;
  }
};

void UnigramTokenizer::AppendIds(std::string_view text, std::vector<int32_t>* ids) const {
  std::string normalized;
  normalizer_->Normalize(text, &normalized);
  Segmentation(*this, normalized, ids).Run();
}

std::vector<int32_t> UnigramTokenizer::Encode(std::string_view text) const {
  std::vector<int32_t> ids;
  AppendIds(text, &ids);
  return ids;
}

std::vector<int32_t> UnigramTokenizer::EncodeWithSpecial(std::string_view text) const {
  return Encode(text);
}

// Moves whole characters from the byte pieces to `out`; a byte that begins none becomes U+FFFD.
// Bytes that may yet become a character stay, unless the run of byte pieces is `complete`.
void UnigramTokenizer::FlushBytes(bool complete, DecodeState* state, std::string* out) const {
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

void UnigramTokenizer::DecodeStep(int32_t model_id, DecodeState* state, std::string* out) const {
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

void UnigramTokenizer::DecodeEnd(DecodeState* state, std::string* out) const {
  FlushBytes(true, state, out);
  *state = DecodeState();
}

}  // namespace glint
