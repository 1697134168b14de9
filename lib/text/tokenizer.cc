#include "lib/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "lib/text/bpe.h"
#include "lib/text/chatglm_rules.h"
#include "lib/text/unigram.h"
#include "lib/text/utf8.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using Options = TokenizerOptions;
using Normal = NormalizerOptions;

constexpr struct {
  const char* name;
  bool Normal::*member;
} kNormalizerOptions[] = {
    {"add_dummy_prefix", &Normal::add_dummy_prefix},
    {"remove_extra_whitespaces", &Normal::remove_extra_whitespaces},
    {"escape_whitespaces", &Normal::escape_whitespaces},
    {"treat_whitespace_as_suffix", &Normal::treat_whitespace_as_suffix},
};

constexpr struct {
  const char* name;
  int32_t Options::*member;
  int32_t low;
} kIdOptions[] = {
    {"id_offset", &Options::id_offset, 0}, {"unk_id", &Options::unk_id, -1},
    {"bos_id", &Options::bos_id, -1},      {"gmask_id", &Options::gmask_id, -1},
    {"mask_id", &Options::mask_id, -1},    {"sop_id", &Options::sop_id, -1},
    {"eop_id", &Options::eop_id, -1},      {"pad_id", &Options::pad_id, -1},
};

template <class T>
std::unique_ptr<Tokenizer> Make(const Options& options, const TokenizerTables& tables,
                                const std::string& where) {
  return std::make_unique<T>(options, tables, where);
}

// An id that the published tokenizer puts in front of a text: an option, or the piece's.
struct Prefix {
  const char* name;
  int32_t Options::*member;
  std::string_view piece;
};
constexpr Prefix kLlamaPrefix[] = {{"bos_id", &Options::bos_id, "<s>"}};
constexpr Prefix kChatGlm2Prefix[] = {{"gmask_id", &Options::gmask_id, "[gMASK]"},
                                      {"sop_id", &Options::sop_id, "sop"}};

template <class T, const auto& kPrefix>
std::unique_ptr<Tokenizer> MakePrefixed(const Options& options, const TokenizerTables& tables,
                                        const std::string& where) {
  auto tokenizer = std::make_unique<T>(options, tables, where);
  for (const Prefix& prefix : kPrefix) {
    tokenizer->AddPrefix(prefix.name, options.*prefix.member, prefix.piece, where);
  }
  return tokenizer;
}

constexpr struct {
  const char* algorithm;
  const char* rules;
  std::unique_ptr<Tokenizer> (*make)(const Options&, const TokenizerTables&, const std::string&);
} kRules[] = {
    {"unigram", "plain", Make<UnigramTokenizer>},
    {"unigram", "chatglm1", Make<ChatGlmTokenizer>},
    {"unigram", "llama", MakePrefixed<UnigramTokenizer, kLlamaPrefix>},
    {"bpe", "plain", Make<BpeTokenizer>},
    {"bpe", "llama", MakePrefixed<BpeTokenizer, kLlamaPrefix>},
    {"bpe", "chatglm2", MakePrefixed<BpeTokenizer, kChatGlm2Prefix>},
    {"bpe", "chatglm3", MakePrefixed<BpeTokenizer, kChatGlm2Prefix>},
};

constexpr size_t kMaxSurfaceBytes = 255;

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

// True if `name` is an option; sets it.
bool SetOption(const std::string& name, const Json& value, const std::string& where,
               Options* options) {
  for (const auto& row : kNormalizerOptions) {
    if (name == row.name) {
      options->normalizer.*row.member = GetBool(value, where);
      return true;
    }
  }
  for (const auto& row : kIdOptions) {
    if (name == row.name) {
      options->*row.member = GetId(value, row.low, where);
      return true;
    }
  }
  if (name == "byte_fallback") {
    options->byte_fallback = GetBool(value, where);
    return true;
  }
  if (name != "unk_surface") return false;
  options->unk_surface = GetText(value, where);
  if (options->unk_surface.size() > kMaxSurfaceBytes || !IsUtf8(options->unk_surface)) {
    throw Error(where + ": expected UTF-8 of at most " + std::to_string(kMaxSurfaceBytes) +
                " bytes, found " + Quoted(options->unk_surface));
  }
  return true;
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::Create(const Json& json, const TokenizerTables& tables,
                                             const std::string& where) {
  if (!json.is_object()) throw Error(where + ": expected an object, found " + json.type_name());
  std::string algorithm;
  std::string rules = "plain";
  Options options;
  for (const auto& [name, value] : json.items()) {
    const std::string place = where + ": " + Quoted(name);
    if (name == "algorithm") {
      algorithm = GetText(value, place);
    } else if (name == "rules") {
      rules = GetText(value, place);
    } else if (!SetOption(name, value, place, &options)) {
      throw Error(place + ": unknown tokenizer option");
    }
  }
  std::string known;
  for (const auto& row : kRules) {
    if (algorithm == row.algorithm && rules == row.rules) return row.make(options, tables, where);
    known += (known.empty() ? "" : ", ") + std::string(row.algorithm) + "/" + row.rules;
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
