#include "lib/text/bpe.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <unordered_map>

#include "lib/text/utf8.h"

namespace glint {
namespace {

size_t CharacterBytes(std::string_view text) {
  return std::min<size_t>(NominalBytes(text[0]), text.size());
}

// The bytes of the character that `text` begins with, as one number.
uint32_t CharacterKey(std::string_view text) {
  uint32_t key = 0;
  for (size_t i = 0; i < CharacterBytes(text); ++i) key = key << 8 | static_cast<uint8_t>(text[i]);
  return key;
}

size_t HashOfNeighbours(uint32_t left, uint32_t right, int bits) {
  const uint64_t mixed = (uint64_t{left} << 32 | right) * 0x9E3779B97F4A7C15u;
  return ((mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93u) >> (64 - bits);
}

// Two neighbours that make a piece.
struct Pair {
  float score;
  uint32_t left, right;  // symbols
  uint32_t bytes;        // of both together when they were neighbours
  uint32_t id;           // the piece's number
};

bool Worse(const Pair& a, const Pair& b) {
  return a.score < b.score || (a.score == b.score && a.left > b.left);
}

// The pairs yet to merge, the best first.
class HeapAgenda {
 public:
  void Push(const Pair& pair) {
    pairs_.push_back(pair);
    std::push_heap(pairs_.begin(), pairs_.end(), Worse);
  }
  bool Pop(Pair* pair) {
    if (pairs_.empty()) return false;
    *pair = pairs_.front();
    std::pop_heap(pairs_.begin(), pairs_.end(), Worse);
    pairs_.pop_back();
    return true;
  }

 private:
  std::vector<Pair> pairs_;
};

// The same for long stretches, whose heap would not stay in the CPU's cache: a queue for each
// score. Pairs of one score come from left to right mostly; a heap takes those that do not.
class QueueAgenda {
 public:
  void Push(const Pair& pair) {
    Queue& queue = queues_[pair.score];
    if (queue.next == queue.pairs.size() || queue.pairs.back().left <= pair.left) {
      queue.pairs.push_back(pair);
    } else {
      queue.late.Push(pair);
    }
    queue.n_waiting++;
  }
  bool Pop(Pair* pair) {
    if (queues_.empty()) return false;
    Queue& queue = queues_.begin()->second;
    const bool has_next = queue.next < queue.pairs.size();
    const Pair next = has_next ? queue.pairs[queue.next] : Pair();
    if (!queue.late.Pop(pair)) {
      *pair = next;
      queue.next++;
    } else if (has_next && next.left < pair->left) {
      queue.late.Push(*pair);
      *pair = next;
      queue.next++;
    }
    if (--queue.n_waiting == 0) queues_.erase(queues_.begin());
    return true;
  }

 private:
  struct Queue {
    std::vector<Pair> pairs;  // from left to right; those before `next` are done
    size_t next = 0, n_waiting = 0;
    HeapAgenda late;
  };
  std::map<float, Queue, std::greater<float>> queues_;
};

}  // namespace

BpeTokenizer::BpeTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                           const std::string& where)
    : PieceTokenizer(options, tables, where), filter_((size_t{1} << kFilterBits) / 64) {
  for (uint32_t id = 0; id < tables_.types.size(); ++id) {
    const std::string_view piece = PieceOf(tables_, id);
    const bool single = CharacterBytes(piece) == piece.size();
    switch (Type(id)) {
      case PieceType::kUnused:
        has_unused_ = has_unused_ || !single;
        break;
      case PieceType::kNormal:
        AddNeighbours(piece);
        break;
      case PieceType::kUserDefined:
      case PieceType::kControl:
        break;
      case PieceType::kUnknown:
      case PieceType::kByte:
        if (single || Find(piece) != kNone) reserved_.push_back({piece, id});
    }
  }
}

void BpeTokenizer::AddNeighbours(std::string_view piece) {
  uint32_t left = CharacterKey(piece);
  for (piece.remove_prefix(CharacterBytes(piece)); !piece.empty();
       piece.remove_prefix(CharacterBytes(piece))) {
    const uint32_t right = CharacterKey(piece);
    const size_t bit = HashOfNeighbours(left, right, kFilterBits);
    filter_[bit / 64] |= uint64_t{1} << (bit % 64);
    left = right;
  }
}

bool BpeTokenizer::MayMerge(uint32_t left, uint32_t right) const {
  const size_t bit = HashOfNeighbours(left, right, kFilterBits);
  return (filter_[bit / 64] >> (bit % 64) & 1) != 0;
}

uint32_t BpeTokenizer::Find(std::string_view piece) const {
  uint32_t found = kNone;
  index_.ForEachPrefix(piece, [&](uint32_t id, size_t bytes) {
    if (bytes == piece.size()) found = id;
  });
  return found;
}

uint32_t BpeTokenizer::IdOf(uint32_t found, std::string_view piece) const {
  for (const auto& [text, id] : reserved_) {
    if (text == piece) return id;
  }
  return found == kNone ? unk_ : found;
}

struct BpeTokenizer::Segmentation {
  struct Symbol {
    size_t begin;         // within text
    uint32_t bytes;       // 0: has become part of the one before
    uint32_t prev, next;  // kNone at the ends
    uint32_t id;          // the piece's number; kNone if there is none
    bool whole;           // user-defined: never merged
  };
  struct Known {  // what two pieces make; kNone: nothing
    uint32_t left = kNone, right = kNone, id = kNone;
  };
  static constexpr size_t kLongStretch = 1024;  // symbols

  Segmentation(const BpeTokenizer& rules, std::string_view normalized, std::vector<int32_t>* out)
      : tokenizer(rules), text(normalized), ids(out) {}

  const BpeTokenizer& tokenizer;
  std::string_view text;
  std::vector<int32_t>* ids;
  std::vector<Symbol> symbols;  // of one stretch
  HeapAgenda heap;
  QueueAgenda queues;
  std::array<Known, 4096> known;  // by a hash of left and right
  // Of each unused piece that was made: where sentencepiece takes it apart, which is where it was
  // made last, anywhere in the text.
  std::unordered_map<uint32_t, uint32_t> left_bytes;
  bool after_unknown = false;

  void Run() {
    uint32_t left = 0;
    for (size_t at = 0; at < text.size();) {
      const std::string_view rest = text.substr(at);
      const size_t defined = tokenizer.normalizer_->UserDefinedBytes(rest);
      const size_t bytes = defined != 0 ? defined : CharacterBytes(rest);
      const uint32_t right = CharacterKey(rest);
      if (!tokenizer.has_unused_ && !symbols.empty() &&
          (defined != 0 || symbols.back().whole || !tokenizer.MayMerge(left, right))) {
        GiveOut();
      }
      Add(at, bytes, defined != 0);
      left = right;
      at += bytes;
    }
    GiveOut();
  }

  void Add(size_t at, size_t bytes, bool whole) {
    const uint32_t n = static_cast<uint32_t>(symbols.size());
    if (n > 0) symbols.back().next = n;
    symbols.push_back({at, static_cast<uint32_t>(bytes), n == 0 ? kNone : n - 1, kNone,
                       tokenizer.Find(text.substr(at, bytes)), whole});
  }

  // The piece that two neighbours make.
  uint32_t Join(const Symbol& l, const Symbol& r) {
    const std::string_view both = text.substr(l.begin, l.bytes + r.bytes);
    if (l.id == kNone || r.id == kNone) return tokenizer.Find(both);
    Known& entry = known[HashOfNeighbours(l.id, r.id, 12)];
    if (entry.left != l.id || entry.right != r.id) entry = {l.id, r.id, tokenizer.Find(both)};
    return entry.id;
  }

  template <class Agenda>
  void Offer(uint32_t left, uint32_t right, Agenda* agenda) {
    if (left == kNone || right == kNone) return;
    const Symbol& l = symbols[left];
    const Symbol& r = symbols[right];
    if (l.whole || r.whole) return;
    const uint32_t id = Join(l, r);
    if (id == kNone) return;
    agenda->Push({tokenizer.tables_.scores[id], left, right, l.bytes + r.bytes, id});
    if (tokenizer.Type(id) == PieceType::kUnused) left_bytes[id] = l.bytes;
  }

  template <class Agenda>
  void Merge(Agenda* agenda) {
    for (uint32_t i = 1; i < symbols.size(); ++i) Offer(i - 1, i, agenda);
    for (Pair pair; agenda->Pop(&pair);) {
      Symbol& l = symbols[pair.left];
      Symbol& r = symbols[pair.right];
      // Either may have been merged with another since.
      if (l.bytes == 0 || r.bytes == 0 || l.bytes + r.bytes != pair.bytes) continue;
      l.bytes += r.bytes;
      l.id = pair.id;
      l.next = r.next;
      r.bytes = 0;
      if (l.next != kNone) symbols[l.next].prev = pair.left;
      Offer(l.prev, pair.left, agenda);
      Offer(pair.left, l.next, agenda);
    }
  }

  // Merges the stretch, writes its ids and begins the next.
  void GiveOut() {
    if (symbols.size() < kLongStretch) {
      Merge(&heap);
    } else {
      Merge(&queues);
    }
    for (const Symbol& symbol : symbols) {
      if (symbol.bytes != 0) Write(symbol.id, text.substr(symbol.begin, symbol.bytes));
    }
    symbols.clear();
  }

  // An unused piece is taken apart; its parts are shorter, so kMaxPieceBytes bounds the depth.
  void Write(uint32_t found, std::string_view piece) {
    const uint32_t id = tokenizer.IdOf(found, piece);
    if (tokenizer.Type(id) == PieceType::kUnused) {
      const auto made = left_bytes.find(id);
      if (made != left_bytes.end() && made->second < piece.size()) {
        for (const std::string_view part :
             {piece.substr(0, made->second), piece.substr(made->second)}) {
          Write(tokenizer.Find(part), part);
        }
        return;
      }
    }
    tokenizer.PieceTokenizer::Write(id, piece, &after_unknown, ids);
  }
};

void BpeTokenizer::AppendNormalized(std::string_view normalized, std::vector<int32_t>* ids) const {
  Segmentation(*this, normalized, ids).Run();
}

}  // namespace glint
