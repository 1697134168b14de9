#include "lib/text/unigram.h"

#include <algorithm>
#include <cfloat>

#include "lib/text/utf8.h"

namespace glint {
namespace {

constexpr float kUnknownPenalty = 10.0f;

}  // namespace

UnigramTokenizer::UnigramTokenizer(const TokenizerOptions& options, const TokenizerTables& tables,
                                   const std::string& where)
    : PieceTokenizer(options, tables, where),
      min_score_(FLT_MAX),
      max_score_(FLT_MIN) {  // as published, though it is the least positive number
  for (size_t id = 0; id < tables_.types.size(); ++id) {
    if (tables_.types[id] != static_cast<uint8_t>(PieceType::kNormal)) continue;
    min_score_ = std::min(min_score_, tables_.scores[id]);
    max_score_ = std::max(max_score_, tables_.scores[id]);
  }
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
      const auto type = tokenizer.Type(id);
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
      tokenizer.Write(node.id, text.substr(path.back() - node.bytes, node.bytes), &after_unknown,
                      ids);
      path.pop_back();
    }
    nodes[0] = {nodes[end - begin].score, 0, 0};
    nodes.resize(1);
    begin = end;
  }
};

void UnigramTokenizer::AppendNormalized(std::string_view normalized,
                                        std::vector<int32_t>* ids) const {
  Segmentation(*this, normalized, ids).Run();
}

}  // namespace glint
