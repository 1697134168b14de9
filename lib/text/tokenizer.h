#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glint {

// The tables of a tokenizer, as the tensors of a file or as an importer read them; which of them an
// algorithm needs, it checks. Does not own.
struct TokenizerTables {
  std::span<const uint8_t> piece_bytes;  // all pieces' UTF-8 bytes, one after another
  std::span<const int32_t> piece_ends;   // (n_pieces): end of piece i in piece_bytes
  std::span<const float> scores;         // (n_pieces): log probability; of bpe: best merged first
  std::span<const uint8_t> types;        // (n_pieces): PieceType
  std::span<const uint8_t> charsmap;     // sentencepiece's precompiled normalization; may be empty
  std::span<const int32_t> index;        // made by the importer for quick opening; piece_index.h
  std::span<const int32_t> splits;       // of merges, (n_pieces, 4); merges.h
  std::span<const int32_t> pairs;        // of merges, (n_slots, 3); merges.h
  std::span<const int32_t> added;        // (n_added, 2): id, AddedToken's flags; added_tokens.h
};

// Calls visit(name, table) for each table, by its name in a file ("tokenizer." comes before it).
// `tables` is a TokenizerTables, or a struct that owns members of the same names.
template <class Tables, class Visit>
void ForEachTable(Tables& tables, Visit visit) {
  visit("piece_bytes", tables.piece_bytes);
  visit("piece_ends", tables.piece_ends);
  visit("scores", tables.scores);
  visit("types", tables.types);
  visit("charsmap", tables.charsmap);
  visit("index", tables.index);
  visit("splits", tables.splits);
  visit("pairs", tables.pairs);
  visit("added", tables.added);
}

// sentencepiece_model.proto's numbers.
enum class PieceType : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

// What decoding remembers between two ids.
struct DecodeState {
  bool any_text = false;       // some text has come out
  bool space_dropped = false;  // the last piece gave up its leading space
  bool at_start = true;        // a leading space may still be dropped
  std::string bytes;           // of an unfinished character, at most 3
  std::string tag;             // text that may become a tag, such as "<|bla"
};

// The rules of one tokenizer: text to ids and back. Immutable, safe to share between threads.
class Tokenizer {
 public:
  // `options` is the file's "tokenizer" object ({"algorithm": "unigram", "rules": "chatglm1",
  // ...}); an option that we do not know is an error. Copies nothing large: the tables must outlive
  // it. Without an index it builds one, which takes a while. `where` begins each message. Throws
  // Error. The options: docs/FORMAT.md and struct TokenizerOptions in piece_tokenizer.h.
  static std::unique_ptr<Tokenizer> Create(const nlohmann::json& options,
                                           const TokenizerTables& tables, const std::string& where);
  virtual ~Tokenizer() = default;

  virtual size_t size() const = 0;  // every id is below it
  // As the published tokenizer reads a text: it finds added tokens in it ("<|im_start|>" is one
  // id), except where it is sentencepiece itself, which finds no control pieces. Any bytes (invalid
  // UTF-8 becomes U+FFFD). Never fails.
  virtual std::vector<int32_t> Encode(std::string_view text) const = 0;
  // Every added token and control piece is found in the text: for the markup of chat templates.
  virtual std::vector<int32_t> EncodeParsed(std::string_view text) const = 0;
  // None is found: for text of which nobody knows who wrote it.
  virtual std::vector<int32_t> EncodePlain(std::string_view text) const = 0;
  // Two texts as one input: ids, and 0 or 1 for each, the text that it belongs to. False if the
  // model knows no pairs.
  virtual bool EncodePair(std::string_view, std::string_view, std::vector<int32_t>*,
                          std::vector<int32_t>*) const {
    return false;
  }
  // The id whose text is exactly this; an added token or control piece before others. -1: none.
  virtual int32_t FindToken(std::string_view text) const = 0;
  // What `tokenize --special` adds: the ids that the model's own tokenizer puts around a text.
  virtual std::vector<int32_t> EncodeWithSpecial(std::string_view text) const = 0;
  // Ids outside the vocabulary are skipped, as the published tokenizer does with those it cannot
  // name.
  std::string Decode(std::span<const int32_t> ids) const;

  // Decoding a step at a time, which is all that Decode does: appends to `out` the text that is now
  // certain, always whole code points. DecodeEnd appends the rest and resets the state.
  virtual void DecodeStep(int32_t id, DecodeState* state, std::string* out) const = 0;
  virtual void DecodeEnd(DecodeState* state, std::string* out) const = 0;
};

// Text of a growing list of ids, a piece at a time, never half a character. What Add and Finish
// return is, put together, Decode of all the ids. The cost of Add does not grow.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  // Adds an id; returns the text that is now certain (whole code points; may be empty).
  std::string Add(int32_t id);
  // What was held back; an incomplete character becomes U+FFFD. The next Add begins a new text.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  DecodeState state_;
};

}  // namespace glint
