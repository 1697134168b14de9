#include "lib/text/tokenizer.h"

#include <array>
#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/text/added_tokens.h"
#include "lib/text/bpe.h"
#include "lib/text/byte_bpe.h"
#include "lib/text/chatglm_rules.h"
#include "lib/text/merged_pieces.h"
#include "lib/text/unigram.h"
#include "lib/text/utf8.h"
#include "lib/text/word_piece.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// The members of a "tokenizer" object besides "algorithm" and "rules", of all algorithms.
struct Options {
  TokenizerOptions pieces;
  ByteBpeOptions bytes;
  WordPieceOptions words;
  AddedTokenizer::Options added;
};

// Which algorithms know an option.
enum Algorithms : unsigned { kPieces = 1, kBytes = 2, kWords = 4, kAll = 7 };

constexpr struct {
  const char* name;
  unsigned algorithms;
  bool* (*find)(Options&);
} kBoolOptions[] = {
    {"add_dummy_prefix", kPieces, [](Options& o) { return &o.pieces.normalizer.add_dummy_prefix; }},
    {"remove_extra_whitespaces", kPieces,
     [](Options& o) { return &o.pieces.normalizer.remove_extra_whitespaces; }},
    {"escape_whitespaces", kPieces,
     [](Options& o) { return &o.pieces.normalizer.escape_whitespaces; }},
    {"treat_whitespace_as_suffix", kPieces,
     [](Options& o) { return &o.pieces.normalizer.treat_whitespace_as_suffix; }},
    {"dummy_prefix_first_only", kPieces,
     [](Options& o) { return &o.pieces.normalizer.dummy_prefix_first_only; }},
    {"dummy_prefix_unless_space", kPieces,
     [](Options& o) { return &o.pieces.normalizer.dummy_prefix_unless_space; }},
    {"byte_fallback", kPieces, [](Options& o) { return &o.pieces.byte_fallback; }},
    {"nfc", kBytes, [](Options& o) { return &o.bytes.nfc; }},
    {"ignore_merges", kBytes, [](Options& o) { return &o.bytes.ignore_merges; }},
    {"add_prefix_space", kBytes, [](Options& o) { return &o.bytes.add_prefix_space; }},
    {"clean_text", kWords, [](Options& o) { return &o.words.clean_text; }},
    {"split_chinese", kWords, [](Options& o) { return &o.words.split_chinese; }},
    {"lowercase", kWords, [](Options& o) { return &o.words.lowercase; }},
    {"strip_accents", kWords, [](Options& o) { return &o.words.strip_accents; }},
    {"compose", kWords, [](Options& o) { return &o.words.compose; }},
    {"clean_up", kWords, [](Options& o) { return &o.words.clean_up; }},
    {"pairs", kWords, [](Options& o) { return &o.added.pairs; }},
};

constexpr struct {
  const char* name;
  unsigned algorithms;
  int32_t* (*find)(Options&);
  int32_t low;
} kIdOptions[] = {
    {"id_offset", kPieces, [](Options& o) { return &o.pieces.id_offset; }, 0},
    {"unk_id", kPieces, [](Options& o) { return &o.pieces.unk_id; }, -1},
    {"unk_id", kWords, [](Options& o) { return &o.words.unk_id; }, -1},
    {"bos_id", kPieces, [](Options& o) { return &o.pieces.bos_id; }, -1},
    {"gmask_id", kPieces, [](Options& o) { return &o.pieces.gmask_id; }, -1},
    {"mask_id", kPieces, [](Options& o) { return &o.pieces.mask_id; }, -1},
    {"sop_id", kPieces, [](Options& o) { return &o.pieces.sop_id; }, -1},
    {"eop_id", kPieces, [](Options& o) { return &o.pieces.eop_id; }, -1},
    {"pad_id", kPieces, [](Options& o) { return &o.pieces.pad_id; }, -1},
};

constexpr struct {
  const char* name;
  std::vector<int32_t> AddedTokenizer::Options::*member;
} kIdListOptions[] = {{"prefix_ids", &AddedTokenizer::Options::prefix},
                      {"suffix_ids", &AddedTokenizer::Options::suffix}};

// An id that the rules put in front of a text: an option, or the piece's.
struct Prefix {
  const char* name;
  int32_t TokenizerOptions::*member;
  std::string_view piece;
};
constexpr std::array<Prefix, 0> kNoPrefix = {};
constexpr Prefix kLlamaPrefix[] = {{"bos_id", &TokenizerOptions::bos_id, "<s>"}};
constexpr Prefix kChatGlm2Prefix[] = {{"gmask_id", &TokenizerOptions::gmask_id, "[gMASK]"},
                                      {"sop_id", &TokenizerOptions::sop_id, "sop"}};

using Where = const std::string&;

template <class T, const auto& kPrefix>
std::unique_ptr<Tokenizer> MakePieces(const Options& options, const TokenizerTables& tables, Where,
                                      Where where) {
  auto algorithm = std::make_unique<T>(options.pieces, tables, where);
  AddedTokenizer::Options added = options.added;
  std::vector<int32_t> ids;
  for (const Prefix& prefix : kPrefix) {
    const int32_t option = options.pieces.*prefix.member;
    const int32_t id = option >= 0 ? option : algorithm->FindSpecial(prefix.piece);
    if (id < 0) {
      throw Error(where + ": expected " + prefix.name + " or a piece " + std::string(prefix.piece) +
                  ", found neither");
    }
    if (static_cast<size_t>(id) >= algorithm->size()) {
      throw Error(where + ": " + prefix.name + ": expected an id below " +
                  std::to_string(algorithm->size()) + ", found " + std::to_string(id));
    }
    ids.push_back(id);
  }
  added.prefix.insert(added.prefix.begin(), ids.begin(), ids.end());
  return std::make_unique<AddedTokenizer>(std::move(algorithm), std::move(added), tables, where);
}

std::unique_ptr<Tokenizer> MakeChatGlm(const Options& options, const TokenizerTables& tables, Where,
                                       Where where) {
  if (!tables.added.empty() || !options.added.prefix.empty() || !options.added.suffix.empty()) {
    throw Error(where + ": rules chatglm1: have no added tokens, prefix_ids or suffix_ids");
  }
  return std::make_unique<ChatGlmTokenizer>(options.pieces, tables, where);
}

std::unique_ptr<Tokenizer> MakeBytes(const Options& options, const TokenizerTables& tables,
                                     Where rules, Where where) {
  auto algorithm = std::make_unique<ByteBpeTokenizer>(options.bytes, FindPreTokenizer(rules, where),
                                                      tables, where);
  return std::make_unique<AddedTokenizer>(std::move(algorithm), options.added, tables, where);
}

std::unique_ptr<Tokenizer> MakeWords(const Options& options, const TokenizerTables& tables, Where,
                                     Where where) {
  auto algorithm = std::make_unique<WordPieceTokenizer>(options.words, tables, where);
  return std::make_unique<AddedTokenizer>(std::move(algorithm), options.added, tables, where);
}

constexpr struct {
  const char* algorithm;
  const char* rules;
  unsigned options;
  std::unique_ptr<Tokenizer> (*make)(const Options&, const TokenizerTables&, Where rules,
                                     Where where);
} kRules[] = {
    {"unigram", "plain", kPieces, MakePieces<UnigramTokenizer, kNoPrefix>},
    {"unigram", "chatglm1", kPieces, MakeChatGlm},
    {"unigram", "llama", kPieces, MakePieces<UnigramTokenizer, kLlamaPrefix>},
    {"bpe", "plain", kPieces, MakePieces<BpeTokenizer, kNoPrefix>},
    {"bpe", "llama", kPieces, MakePieces<BpeTokenizer, kLlamaPrefix>},
    {"bpe", "chatglm2", kPieces, MakePieces<BpeTokenizer, kChatGlm2Prefix>},
    {"bpe", "chatglm3", kPieces, MakePieces<BpeTokenizer, kChatGlm2Prefix>},
    {"merged_pieces", "plain", kPieces, MakePieces<MergedPieceTokenizer, kNoPrefix>},
    {"byte_bpe", "gpt2", kBytes, MakeBytes},
    {"byte_bpe", "llama3", kBytes, MakeBytes},
    {"byte_bpe", "qwen2", kBytes, MakeBytes},
    {"byte_bpe", "glm4", kBytes, MakeBytes},
    {"word_piece", "plain", kWords, MakeWords},
};

constexpr size_t kMaxSurfaceBytes = 255;
constexpr size_t kMaxIdList = 64;

bool GetBool(const Json& value, const std::string& where) {
  if (!value.is_boolean())
    throw Error(where + ": expected true or false, found " + value.type_name());
  return value.get<bool>();
}

int32_t GetId(const Json& value, int32_t low, const std::string& where) {
  constexpr int64_t kHigh = INT32_MAX / 2;
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{kHigh}) &&
                    value.get<int64_t>() >= low && value.get<int64_t>() <= kHigh;
  if (!fits) {
    throw Error(where + ": expected a whole number from " + std::to_string(low) + " to " +
                std::to_string(kHigh) + ", found " +
                Quoted(value.dump(-1, ' ', true, Json::error_handler_t::replace)));
  }
  return value.get<int32_t>();
}

std::string GetText(const Json& value, const std::string& where) {
  if (!value.is_string()) throw Error(where + ": expected a text, found " + value.type_name());
  return value.get<std::string>();
}

// True if `name` is an option of these algorithms; sets it.
bool SetOption(const std::string& name, const Json& value, unsigned algorithms,
               const std::string& where, Options* options) {
  for (const auto& row : kBoolOptions) {
    if (name == row.name && (row.algorithms & algorithms) != 0) {
      *row.find(*options) = GetBool(value, where);
      return true;
    }
  }
  for (const auto& row : kIdOptions) {
    if (name == row.name && (row.algorithms & algorithms) != 0) {
      *row.find(*options) = GetId(value, row.low, where);
      return true;
    }
  }
  for (const auto& row : kIdListOptions) {
    if (name != row.name) continue;
    if (!value.is_array() || value.size() > kMaxIdList) {
      throw Error(where + ": expected a list of at most " + std::to_string(kMaxIdList) + " ids");
    }
    for (const Json& id : value) (options->added.*row.member).push_back(GetId(id, 0, where));
    return true;
  }
  if (name != "unk_surface" || (algorithms & kPieces) == 0) return false;
  std::string& surface = options->pieces.unk_surface;
  surface = GetText(value, where);
  if (surface.size() > kMaxSurfaceBytes || !IsUtf8(surface)) {
    throw Error(where + ": expected UTF-8 of at most " + std::to_string(kMaxSurfaceBytes) +
                " bytes, found " + Quoted(surface));
  }
  return true;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::Create(const Json& json, const TokenizerTables& tables,
                                             const std::string& where) {
  if (!json.is_object()) throw Error(where + ": expected an object, found " + json.type_name());
  const auto text = [&](const char* name, const char* otherwise) {
    const auto found = json.find(name);
    return found == json.end() ? otherwise : GetText(*found, where + ": " + Quoted(name));
  };
  const std::string algorithm = text("algorithm", "");
  const std::string rules = text("rules", "plain");
  std::string known;
  for (const auto& row : kRules) {
    known += (known.empty() ? "" : ", ") + std::string(row.algorithm) + "/" + row.rules;
    if (algorithm != row.algorithm || rules != row.rules) continue;
    Options options;
    for (const auto& [name, value] : json.items()) {
      if (name == "algorithm" || name == "rules") continue;
      const std::string place = where + ": " + Quoted(name);
      if (!SetOption(name, value, row.options, place, &options)) {
        throw Error(place + ": unknown tokenizer option");
      }
    }
    return row.make(options, tables, rules, where);
  }
  throw Error(where + ": expected a known algorithm and rules (" + known + "), found " +
              Quoted(algorithm + "/" + rules));
}

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  DecodeState state;
  std::string text;
  for (const int32_t id : ids) DecodeStep(id, &state, &text);
  DecodeEnd(&state, &text);
  return text;
}

std::string Detokenizer::Add(int32_t id) {
  std::string text;
  tokenizer_->DecodeStep(id, &state_, &text);
  return text;
}

std::string Detokenizer::Finish() {
  std::string text;
  tokenizer_->DecodeEnd(&state_, &text);
  return text;
}

}  // namespace glint
