// tokenizer.json, as Hugging Face's library "tokenizers" writes it: the four kinds of models that
// language models have, with the steps around them that we can do exactly. Anything else is
// refused.
#include <algorithm>
#include <type_traits>

#include "formats/import/hf_folder.h"
#include "formats/import/tokenizer_files.h"
#include "formats/json.h"
#include "lib/error.h"
#include "lib/text/added_tokens.h"
#include "lib/text/normalizer.h"
#include "lib/text/pre_tokenizer.h"

namespace glint {
namespace {

using Json = nlohmann::json;

bool IsNull(const Json& object, const char* key) {
  return !object.contains(key) || object.at(key).is_null();
}

// Not of numbers, which nlohmann would cast to a narrower type whatever they are: those are compared
// as Json.
template <class T>
T ValueOr(const Json& object, const char* key, T otherwise, const std::string& where) {
  static_assert(!std::is_arithmetic_v<T> || std::is_same_v<T, bool>);
  if (IsNull(object, key)) return otherwise;
  try {
    return object.at(key).get<T>();
  } catch (const Json::exception&) {
    throw Error(where + ": " + Quoted(key) + ": unexpected " + object.at(key).type_name());
  }
}

std::string Shown(const Json& value) {
  return Quoted(value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 200));
}

// A step of the file, such as a normalizer: an object with a type.
struct Step {
  std::string type;
  const Json* json;
  std::string where;

  [[noreturn]] void Refuse() const {
    throw Error(where + ": " + Shown(*json) + " is not supported");
  }
  template <class T>
  T Get(const char* key, T otherwise) const {
    return ValueOr(*json, key, otherwise, where);
  }
};

// The steps under a key of the file, those of sequences one by one.
class StepList {
 public:
  StepList(const Json& file, const char* key, const char* members, const std::string& where)
      : where_(where + ": " + Quoted(key)), members_(members) {
    if (!IsNull(file, key)) Add(file.at(key));
  }

  const std::vector<Step>& steps() const { return steps_; }
  bool Is(std::initializer_list<std::string_view> types) const {
    return std::equal(steps_.begin(), steps_.end(), types.begin(), types.end(),
                      [](const Step& step, std::string_view type) { return step.type == type; });
  }
  [[noreturn]] void Refuse() const {
    std::string found;
    for (const Step& step : steps_) found += (found.empty() ? "" : ", ") + step.type;
    throw Error(where_ + ": " + (found.empty() ? "none" : "the steps " + Quoted(found)) +
                " where this kind of model is not supported with them");
  }

 private:
  void Add(const Json& step) {
    if (!step.is_object()) {
      throw Error(where_ + ": expected an object, found " + step.type_name());
    }
    const std::string type = GetString(step, "type", where_);
    if (type != "Sequence") {
      steps_.push_back({type, &step, where_});
      return;
    }
    for (const Json& member : GetArray(step, members_, where_)) Add(member);
  }

  std::string where_;
  const char* members_;
  std::vector<Step> steps_;
};

// What a pattern of a step is: {"String": text} or {"Regex": text}.
bool IsPattern(const Step& step, const char* kind, const std::string& text) {
  const Json pattern = step.Get("pattern", Json());
  return pattern.is_object() && pattern.size() == 1 && pattern.value(kind, Json()) == text;
}

class Reader {
 public:
  Reader(const Json& file, const std::string& where)
      : file_(file),
        where_(where),
        model_(GetObject(file, "model", where)),
        place_(where + ": 'model'"),
        normalizer_(file, "normalizer", "normalizers", where),
        pre_tokenizer_(file, "pre_tokenizer", "pretokenizers", where),
        decoder_(file, "decoder", "decoders", where),
        post_processor_(file, "post_processor", "processors", where) {}

  ImportedTokenizer Read() {
    ReadAdded();
    constexpr std::pair<std::string_view, void (Reader::*)()> kTypes[] = {
        {"BPE", &Reader::ReadBpe},
        {"Unigram", &Reader::ReadUnigram},
        {"WordPiece", &Reader::ReadWordPiece}};
    const std::string type = ModelType();
    const auto row = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const auto& known) { return known.first == type; });
    if (row == std::end(kTypes)) {
      throw Error(place_ + ": expected type BPE, Unigram or WordPiece, found " + Quoted(type));
    }
    (this->*row->second)();
    ReadPostProcessor();
    SetAddedTable(tokens_, &out_);
    Tokenizer::Create(out_.options, out_.Tables(), where_);
    return std::move(out_);
  }

 private:
  // Files of 2020 name no type: of the kinds that we read only BPE has merges.
  std::string ModelType() const {
    if (IsNull(model_, "type")) return model_.contains("merges") ? "BPE" : "WordPiece";
    return GetString(model_, "type", place_);
  }

  void ReadAdded() {
    if (IsNull(file_, "added_tokens")) return;
    const std::string place = where_ + ": 'added_tokens'";
    for (const Json& token : GetArray(file_, "added_tokens", where_)) {
      if (!token.is_object()) throw Error(place + ": expected objects");
      const uint64_t id = GetUint(token, "id", 0, kMaxVocabulary - 1, place);
      tokens_.push_back(ReadAddedEntry(token, static_cast<int64_t>(id), place));
    }
  }

  void RefuseUnless(bool good, const char* key) const {
    if (!good)
      throw Error(place_ + ": " + Quoted(key) + ": " + Shown(model_.at(key)) + " is not supported");
  }
  void RefuseText(const char* key) const {
    RefuseUnless(IsNull(model_, key) || model_.at(key) == "", key);
  }

  // {"text": id, ...}
  std::vector<std::pair<int64_t, std::string>> ReadVocabulary() const {
    const Json& vocab = GetObject(model_, "vocab", place_);
    std::vector<std::pair<int64_t, std::string>> sorted;
    for (const auto& [text, id] : vocab.items()) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX || text.empty()) {
        throw Error(place_ + ": 'vocab': token " + Quoted(text) + ": expected a text and an id");
      }
      sorted.emplace_back(id.get<int64_t>(), text);
    }
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }

  // "left right", or in newer files ["left", "right"].
  std::vector<std::pair<std::string, std::string>> ReadMerges(bool byte_level) const {
    const Json& merges = GetArray(model_, "merges", place_);
    std::vector<std::pair<std::string, std::string>> out;
    out.reserve(merges.size());
    for (const Json& merge : merges) {
      const std::string place = place_ + ": merge " + std::to_string(out.size());
      std::string left, right;
      if (merge.is_string()) {
        const std::string& text = merge.get_ref<const std::string&>();
        const size_t space = text.find(' ');
        if (space != text.npos && text.find(' ', space + 1) == text.npos) {
          left = text.substr(0, space);
          right = text.substr(space + 1);
        }
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                 merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      }
      std::string left_bytes = left, right_bytes = right;
      if (left.empty() || right.empty() ||
          (byte_level &&
           (!FromByteText(left, &left_bytes) || !FromByteText(right, &right_bytes)))) {
        throw Error(place + ": expected two tokens, found " + Shown(merge));
      }
      out.emplace_back(std::move(left_bytes), std::move(right_bytes));
    }
    return out;
  }

  void ReadBpe() {
    RefuseText("continuing_subword_prefix");
    RefuseText("end_of_word_suffix");
    RefuseUnless(IsNull(model_, "dropout") || model_.at("dropout") == 0.0, "dropout");
    const bool byte_level =
        std::any_of(pre_tokenizer_.steps().begin(), pre_tokenizer_.steps().end(),
                    [](const Step& step) { return step.type == "ByteLevel"; });
    if (byte_level) {
      ReadByteBpe();
    } else {
      ReadMergedPieces();
    }
  }

  void SetMerges(const Vocabulary& vocabulary, bool byte_level) {
    const auto merges = ReadMerges(byte_level);
    std::vector<Merge> list;
    for (const auto& [left, right] : merges) list.emplace_back(left, right);
    SetMergedTables(vocabulary, list, byte_level, place_, &out_);
  }

  const PreTokenizer& ByteWords() {
    const std::vector<Step>& steps = pre_tokenizer_.steps();
    const Step& bytes = steps.back();
    if (bytes.Get("add_prefix_space", false)) out_.options["add_prefix_space"] = true;
    const bool own = bytes.Get("use_regex", true);
    if (pre_tokenizer_.Is({"ByteLevel"}) && own) return FindPreTokenizer("gpt2", where_);
    if (!pre_tokenizer_.Is({"Split", "ByteLevel"}) || own) pre_tokenizer_.Refuse();
    const Step& split = steps[0];
    // The patterns leave out no text, so keeping the matches only (Phi-4) is keeping all.
    const std::string behavior = split.Get("behavior", std::string());
    const bool invert = split.Get("invert", false);
    if (behavior != (invert ? "Removed" : "Isolated")) split.Refuse();
    const Json pattern = split.Get("pattern", Json());
    const PreTokenizer* words = nullptr;
    if (pattern.is_object() && pattern.size() == 1 && pattern.contains("Regex") &&
        pattern.at("Regex").is_string()) {
      words = FindPattern(pattern.at("Regex").get_ref<const std::string&>());
    }
    if (words == nullptr) split.Refuse();
    return *words;
  }

  void ReadByteBpe() {
    if (ValueOr(model_, "byte_fallback", false, place_)) RefuseUnless(false, "byte_fallback");
    out_.options = {{"algorithm", "byte_bpe"}};
    out_.options["rules"] = ByteWords().name;
    if (normalizer_.Is({"NFC"})) {
      out_.options["nfc"] = true;
    } else if (!normalizer_.Is({})) {
      normalizer_.Refuse();
    }
    if (!decoder_.Is({"ByteLevel"}) && !decoder_.Is({})) decoder_.Refuse();
    if (ValueOr(model_, "ignore_merges", false, place_)) out_.options["ignore_merges"] = true;
    Vocabulary vocabulary;
    std::string bytes;
    for (auto& [id, text] : ReadVocabulary()) {
      vocabulary.Set(id, FromByteText(text, &bytes) ? bytes : text, PieceType::kNormal, place_);
    }
    AddTokens(tokens_, &vocabulary, where_);
    SetMerges(vocabulary, true);
  }

  // Normalizer and pre-tokenizer of models whose pieces write a space as U+2581.
  void ReadSpaces() {
    bool dummy = false, escaped = false;
    out_.options["remove_extra_whitespaces"] = false;
    for (const Step& step : normalizer_.steps()) {
      if (step.type == "Prepend" && step.Get("prepend", std::string()) == kSpaceSymbol) {
        dummy = true;
      } else if (step.type == "Replace" && IsPattern(step, "String", " ") &&
                 step.Get("content", std::string()) == kSpaceSymbol) {
        escaped = true;
      } else if (step.type == "Precompiled" && out_.options["algorithm"] == "unigram") {
        ReadCharsmap(step);
      } else {
        step.Refuse();
      }
    }
    for (const Step& step : pre_tokenizer_.steps()) {
      if (step.type == "Metaspace") {
        ReadMetaspace(step, &dummy);
        escaped = true;
      } else if (step.type == "WhitespaceSplit" && !out_.charsmap.empty() &&
                 pre_tokenizer_.steps().size() == 2 && &step == &pre_tokenizer_.steps()[0]) {
        out_.options["remove_extra_whitespaces"] = true;
      } else if (!(escaped && step.type == "Split" && IsPattern(step, "String", " "))) {
        step.Refuse();  // (a text without spaces cannot be split there)
      }
    }
    if (!escaped) normalizer_.Refuse();
    out_.options["add_dummy_prefix"] = dummy;
    CheckDecoder(dummy);
  }

  void ReadMetaspace(const Step& step, bool* dummy) {
    if (step.Get("replacement", std::string(kSpaceSymbol)) != kSpaceSymbol) step.Refuse();
    const bool old = step.Get("add_prefix_space", true);
    const std::string scheme = step.Get("prepend_scheme", std::string(old ? "always" : "never"));
    if (scheme != "always" && scheme != "first" && scheme != "never") step.Refuse();
    // A BPE merges across the words that "split" makes; only Unigram has no piece of two words.
    if (out_.options["algorithm"] != "unigram" && step.Get("split", true)) step.Refuse();
    if (scheme == "never") return;
    *dummy = true;
    out_.options["dummy_prefix_unless_space"] = true;
    if (scheme == "first") out_.options["dummy_prefix_first_only"] = true;
  }

  void ReadCharsmap(const Step& step) {
    std::string bytes;
    if (!FromBase64(step.Get("precompiled_charsmap", std::string()), &bytes)) step.Refuse();
    out_.charsmap.assign(bytes.begin(), bytes.end());
  }

  // U+2581 becomes a space, of which the dummy one goes; bytes become characters.
  void CheckDecoder(bool dummy) const {
    if (decoder_.Is({"Metaspace"}) || decoder_.Is({})) return;
    const bool strips = !decoder_.steps().empty() && decoder_.steps().back().type == "Strip";
    if (strips != dummy) decoder_.Refuse();
    for (const Step& step : decoder_.steps()) {
      const bool good =
          step.type == "ByteFallback" || step.type == "Fuse" || step.type == "Metaspace" ||
          (step.type == "Replace" && IsPattern(step, "String", std::string(kSpaceSymbol)) &&
           step.Get("content", std::string()) == " ") ||
          (step.type == "Strip" && step.Get("content", std::string()) == " " &&
           step.Get("start", Json(0)) == 1 && step.Get("stop", Json(0)) == 0);
      if (!good) step.Refuse();
    }
  }

  // Pieces that are no text: the unknown one and bytes.
  PieceType TypeOf(const std::string& text, const std::string& unknown, bool byte_fallback) const {
    if (text == unknown) return PieceType::kUnknown;
    const bool byte = text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
    return byte && byte_fallback ? PieceType::kByte : PieceType::kNormal;
  }

  // Gemma's runs of line ends are added tokens and pieces that merges make: these stay pieces.
  void AddTokensBut(const std::string& unknown, Vocabulary* vocabulary) {
    std::vector<AddedEntry> others;
    for (const AddedEntry& token : tokens_) {
      const size_t id = static_cast<size_t>(token.id);
      const bool piece = !token.special && id < vocabulary->texts.size() &&
                         vocabulary->types[id] == PieceType::kNormal &&
                         vocabulary->texts[id] == token.text;
      if (token.text != unknown && !piece) others.push_back(token);
    }
    AddTokens(others, vocabulary, where_);
  }

  void ReadMergedPieces() {
    const bool byte_fallback = ValueOr(model_, "byte_fallback", false, place_);
    out_.options = {{"algorithm", "merged_pieces"}, {"byte_fallback", byte_fallback}};
    if (ValueOr(model_, "ignore_merges", false, place_)) RefuseUnless(false, "ignore_merges");
    ReadSpaces();
    const std::string unknown = ValueOr(model_, "unk_token", std::string(), place_);
    Vocabulary vocabulary;
    for (auto& [id, text] : ReadVocabulary()) {
      vocabulary.Set(id, text, TypeOf(text, unknown, byte_fallback), place_);
    }
    AddTokensBut(unknown, &vocabulary);
    SetMerges(vocabulary, false);
    out_.scores.assign(out_.size(), 0.0f);
  }

  void ReadUnigram() {
    const bool byte_fallback = ValueOr(model_, "byte_fallback", false, place_);
    out_.options = {{"algorithm", "unigram"}, {"byte_fallback", byte_fallback}};
    ReadSpaces();
    const Json& vocab = GetArray(model_, "vocab", place_);
    const uint64_t unk =
        GetUint(model_, "unk_id", 0, std::max<size_t>(vocab.size(), 1) - 1, place_);
    std::string unknown;
    Vocabulary vocabulary;
    for (size_t id = 0; id < vocab.size(); ++id) {
      const Json& piece = vocab[id];
      if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() ||
          !piece[1].is_number()) {
        throw Error(place_ + ": 'vocab': " + std::to_string(id) +
                    ": expected a text and a score, found " + Shown(piece));
      }
      const std::string text = piece[0].get<std::string>();
      if (id == unk) unknown = text;
      vocabulary.Set(static_cast<int64_t>(id), text,
                     id == unk ? PieceType::kUnknown : TypeOf(text, "", byte_fallback), place_);
      out_.scores.push_back(piece[1].get<float>());
    }
    AddTokensBut(unknown, &vocabulary);
    out_.scores.resize(vocabulary.texts.size(), 0.0f);
    SetPieceTables(vocabulary, false, &out_);
  }

  void ReadWordPiece() {
    const auto is = [&](const char* key, const Json& wanted) {
      RefuseUnless(IsNull(model_, key) || model_.at(key) == wanted, key);
    };
    is("continuing_subword_prefix", "##");
    is("max_input_chars_per_word", 100);
    if (!normalizer_.Is({"BertNormalizer"})) normalizer_.Refuse();
    if (!pre_tokenizer_.Is({"BertPreTokenizer"})) pre_tokenizer_.Refuse();
    if (!decoder_.Is({"WordPiece"}) && !decoder_.Is({})) decoder_.Refuse();
    const Step& bert = normalizer_.steps()[0];
    const bool lowercase = bert.Get("lowercase", true);
    out_.options = {{"algorithm", "word_piece"},
                    {"clean_text", bert.Get("clean_text", true)},
                    {"split_chinese", bert.Get("handle_chinese_chars", true)},
                    {"lowercase", lowercase},
                    {"strip_accents", bert.Get("strip_accents", lowercase)},
                    {"compose", false}};
    if (!decoder_.Is({})) {
      const Step& words = decoder_.steps()[0];
      if (words.Get("prefix", std::string("##")) != "##") words.Refuse();
      if (words.Get("cleanup", false)) out_.options["clean_up"] = true;
    }
    Vocabulary vocabulary;
    for (auto& [id, text] : ReadVocabulary()) {
      vocabulary.Set(id, text, PieceType::kNormal, place_);
    }
    const auto ids = vocabulary.Ids();
    const std::string unknown = ValueOr(model_, "unk_token", std::string("[UNK]"), place_);
    const auto unk = ids.find(unknown);
    if (unk == ids.end()) {
      throw Error(place_ + ": 'unk_token': " + Quoted(unknown) + " is not in the vocabulary");
    }
    out_.options["unk_id"] = unk->second;
    // Looked up before any is added: the texts of `ids` are those of the vocabulary, which moves them.
    std::vector<AddedEntry> missing;
    for (const AddedEntry& token : tokens_) {
      if (ids.count(token.text) == 0) missing.push_back(token);
    }
    for (const AddedEntry& token : missing) {
      vocabulary.Set(token.id, token.text, PieceType::kNormal, where_);
    }
    SetPieceTables(vocabulary, false, &out_);
  }

  int32_t NamedId(const Step& step, const Json& pair) const {
    if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number_unsigned() ||
        pair[1].get<uint64_t>() >= kMaxVocabulary) {
      step.Refuse();
    }
    return pair[1].get<int32_t>();
  }

  void ReadPostProcessor() {
    Json prefix = Json::array(), suffix = Json::array();
    bool pairs = false;
    for (const Step& step : post_processor_.steps()) {
      if (step.type == "ByteLevel") continue;  // moves offsets, no ids
      if (step.type == "BertProcessing" || step.type == "RobertaProcessing") {
        prefix.push_back(NamedId(step, step.Get("cls", Json())));
        suffix.push_back(NamedId(step, step.Get("sep", Json())));
        pairs = step.type == "BertProcessing";
      } else if (step.type == "TemplateProcessing") {
        ReadTemplate(step, &prefix, &suffix);
        pairs = IsBertPair(step);
      } else {
        step.Refuse();
      }
    }
    if (!prefix.empty()) out_.options["prefix_ids"] = prefix;
    if (!suffix.empty()) out_.options["suffix_ids"] = suffix;
    if (pairs && out_.options["algorithm"] == "word_piece") out_.options["pairs"] = true;
  }

  // [{"SpecialToken": {"id": "<s>", ...}}, {"Sequence": {"id": "A", ...}}, ...]
  void ReadTemplate(const Step& step, Json* prefix, Json* suffix) const {
    const Json& special = GetObject(*step.json, "special_tokens", step.where);
    bool behind = false;
    for (const Json& part : GetArray(*step.json, "single", step.where)) {
      if (part.is_object() && part.contains("Sequence")) {
        if (behind) step.Refuse();
        behind = true;
        continue;
      }
      if (!part.is_object() || !part.contains("SpecialToken")) step.Refuse();
      const std::string name = GetString(part.at("SpecialToken"), "id", step.where);
      const Json& token = GetObject(special, name.c_str(), step.where);
      for (const Json& id : GetArray(token, "ids", step.where)) {
        (behind ? suffix : prefix)->push_back(id);
      }
    }
    if (!behind) step.Refuse();
  }

  // [CLS] A [SEP] B [SEP], the last two of type 1.
  bool IsBertPair(const Step& step) const {
    const Json pair = step.Get("pair", Json());
    if (!pair.is_array() || pair.size() != 5) return false;
    const char* kKinds[] = {"SpecialToken", "Sequence", "SpecialToken", "Sequence", "SpecialToken"};
    for (size_t i = 0; i < 5; ++i) {
      if (!pair[i].is_object() || !pair[i].contains(kKinds[i])) return false;
      const Json& part = pair[i].at(kKinds[i]);
      if (!part.is_object() || part.value("type_id", Json()) != (i < 3 ? 0 : 1)) return false;
    }
    return pair[2].at(kKinds[2]).value("id", Json()) == pair[4].at(kKinds[4]).value("id", Json());
  }

  const Json& file_;
  std::string where_;
  const Json& model_;
  std::string place_;
  StepList normalizer_, pre_tokenizer_, decoder_, post_processor_;
  std::vector<AddedEntry> tokens_;
  ImportedTokenizer out_;
};

}  // namespace

ImportedTokenizer ReadTokenizerJson(const std::string& path) {
  const Json file = ReadJsonFile(path, kMaxVocabularyFileBytes);
  if (!file.is_object()) throw Error(path + ": expected an object, found " + file.type_name());
  return Reader(file, path).Read();
}

}  // namespace glint
