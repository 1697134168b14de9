// The forms of tokenizer.json that published models have, and added_tokens.json, with small
// vocabularies; damaged tokenizer keys of GGUF files.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <random>

#include "formats/import/gguf.h"
#include "lib/error.h"
#include "tests/gguf_files.h"
#include "tests/spm_samples.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using namespace test;

constexpr char kCl100k[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const std::string kSpace = "\u2581";

Json Sequence(const char* members, Json steps) {
  return {{"type", "Sequence"}, {members, std::move(steps)}};
}
Json Replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}
Json Split(const char* kind, const char* pattern, const char* behavior, bool invert) {
  return {{"type", "Split"},
          {"pattern", {{kind, pattern}}},
          {"behavior", behavior},
          {"invert", invert}};
}
// These tokens in front of a text.
Json Template(const std::vector<std::pair<std::string, int>>& tokens) {
  Json single = Json::array(), special = Json::object();
  for (const auto& [text, id] : tokens) {
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    special[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
  }
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array()},
          {"special_tokens", special}};
}

// LLaMA-3 and GLM-4: "abcd" (256) joins "cd" (258) before "cd" is made, and "xyz" (259) is no
// merge's; 260 and 261 are added.
Json Llama3Form() {
  Json vocab = ByteVocabulary();
  vocab["abcd"] = 256;
  vocab["ab"] = 257;
  vocab["cd"] = 258;
  vocab["xyz"] = 259;
  return {
      {"added_tokens", {Token(260, "<|begin|>"), Token(261, "<|end|>")}},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       Sequence("pretokenizers", {Split("Regex", kCl100k, "Isolated", false), ByteLevel(false)})},
      {"post_processor", Sequence("processors", {ByteLevel(true), Template({{"<|begin|>", 260}})})},
      {"decoder", ByteLevel(true)},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"byte_fallback", false},
        {"ignore_merges", true},
        {"vocab", vocab},
        {"merges", {"a b", "ab cd", "c d"}}}}};
}

TEST_CASE("LLaMA-3's form: words that merges cannot make, merges before those of their parts") {
  Json file = Llama3Form();
  auto loaded = LoadJson(file);
  const Tokenizer& t = *loaded->tokenizer;
  CHECK(t.Encode("xyz") == Ids{259});
  CHECK(t.Encode("xyzx") == Ids{'x', 'y', 'z', 'x'});
  CHECK(t.Encode("abcdcdabc<|end|>") == Ids{256, 258, 257, 'c', 261});
  CHECK(t.EncodeWithSpecial("12345") == Ids{260, '1', '2', '3', '4', '5'});
  CHECK(t.Decode(Ids{260, 259, 256, 261}) == "xyzabcd");
  file["model"]["ignore_merges"] = false;
  CHECK(LoadJson(file)->tokenizer->Encode("xyz") == Ids{'x', 'y', 'z'});
}

TEST_CASE("Phi-4's form: what a split leaves out is removed, which is nothing") {
  Json file = Llama3Form();
  Json& split = file["pre_tokenizer"]["pretokenizers"][0];
  split["behavior"] = "Removed";
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("Removed"), Error);
  split["invert"] = true;
  CHECK(LoadJson(file)->tokenizer->Encode("abcd xyz") == Ids{256, ' ', 'x', 'y', 'z'});
  split["behavior"] = "Isolated";
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("invert"), Error);
}

// Byte pieces 3 to 258, then single characters and what merges make of them.
Json PiecesForm() {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    vocab[text] = 3 + byte;
  }
  int id = 259;
  for (const std::string& text : {kSpace, std::string("a"), std::string("b"), std::string("\n"),
                                  kSpace + "a", kSpace + kSpace, std::string("\n\n")}) {
    vocab[text] = id++;  // 259 to 265
  }
  const Json decoder =
      Sequence("decoders", {Replace(kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  return {{"added_tokens", {Token(0, "<unk>"), Token(1, "<s>"), Token(2, "</s>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"post_processor", Template({{"<s>", 1}})},
          {"decoder", decoder},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {kSpace + " " + kSpace, kSpace + " a", "\n \n"}}}}};
}

void Strip(Json* file) {
  (*file)["decoder"]["decoders"].push_back(
      {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
}

TEST_CASE("Gemma's form: merges make tokens that are added too") {
  Json file = PiecesForm();
  file["normalizer"] = Replace(" ", kSpace);
  file["pre_tokenizer"] = Split("String", " ", "MergedWithPrevious", false);
  for (const auto& [id, text] :
       {std::pair(264, kSpace + kSpace), std::pair(265, std::string("\n\n"))}) {
    file["added_tokens"].push_back(Token(id, text, false));
  }
  const auto loaded = LoadJson(file);
  const Tokenizer& t = *loaded->tokenizer;
  CHECK(t.EncodeWithSpecial("a  a") == Ids{1, 260, 264, 260});
  CHECK(t.Encode("\n\n\nb " + kSpace + kSpace) == Ids{265, 262, 261, 259, 264});
  CHECK(t.Encode("\u00e9</s>") == Ids{3 + 0xC3, 3 + 0xA9, 2});
  CHECK(t.Decode(Ids{264, 260, 265, 3 + 0xC3, 3 + 0xA9}) == "  a\n\n\u00e9");
}

TEST_CASE("Phi-3's form: a space in front of each text, tokens that take the space behind them") {
  Json file = PiecesForm();
  file["normalizer"] =
      Sequence("normalizers", {{{"type", "Prepend"}, {"prepend", kSpace}}, Replace(" ", kSpace)});
  file["added_tokens"].push_back(Token(266, "<|user|>"));
  file["added_tokens"].back()["rstrip"] = true;
  file["post_processor"] = Template({});
  Strip(&file);
  const auto loaded = LoadJson(file);
  const Tokenizer& t = *loaded->tokenizer;
  CHECK(t.EncodeWithSpecial("a") == Ids{263});
  CHECK(t.Encode("<|user|> \n a<|user|>b") == Ids{266, 263, 266, 259, 261});
  CHECK(t.Decode(Ids{263, 259, 260}) == "a a");
}

TEST_CASE("Mistral v0.3's form: Metaspace, a space in front of the first text only") {
  Json file = PiecesForm();
  file["pre_tokenizer"] = {{"type", "Metaspace"},
                           {"replacement", kSpace},
                           {"prepend_scheme", "first"},
                           {"split", false}};
  file["added_tokens"].push_back(Token(266, "[INST]"));
  Strip(&file);
  CHECK(LoadJson(file)->tokenizer->EncodeWithSpecial("a[INST]a  a") ==
        Ids{1, 263, 266, 260, 264, 260});
  CHECK(LoadJson(file)->tokenizer->Encode("[INST]a") == Ids{266, 260});
  CHECK(LoadJson(file)->tokenizer->Encode(" a") == Ids{263});
  file["pre_tokenizer"]["prepend_scheme"] = "always";
  CHECK(LoadJson(file)->tokenizer->Encode("[INST]a") == Ids{266, 263});
  file["pre_tokenizer"]["split"] = true;
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("Metaspace"), Error);
}

TEST_CASE("Unigram's forms") {
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", kSpace}};
  Json vocab = Json::array();
  for (const auto& [text, score] :
       std::initializer_list<std::pair<std::string, double>>{{"<unk>", 0},
                                                             {"</s>", 0},
                                                             {kSpace, -4},
                                                             {"a", -3},
                                                             {"b", -3.5},
                                                             {"ab", -5},
                                                             {kSpace + "a", -2}}) {
    vocab.push_back(Json::array({text, score}));
  }
  Json file = {{"added_tokens", {Token(0, "<unk>"), Token(1, "</s>"), Token(7, "<m>")}},
               {"normalizer", nullptr},
               {"pre_tokenizer", metaspace},
               {"post_processor", nullptr},
               {"decoder", metaspace},
               {"model", {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocab}}}};
  const auto loaded = LoadJson(file);
  const Tokenizer& t = *loaded->tokenizer;
  // " ab": of [" a", "b"], -5.5, and [" ", "ab"], -9, the better one.
  CHECK(t.Encode("ab ab") == Ids{6, 4, 6, 4});
  CHECK(t.Encode("bab<m>xya") == Ids{2, 4, 5, 7, 2, 0, 3});
  CHECK(t.Decode(Ids{6, 4, 2, 3}) == "ab a");
  file["pre_tokenizer"]["prepend_scheme"] = "never";
  CHECK(LoadJson(file)->tokenizer->Encode("ab a") == Ids{5, 6});
  file["pre_tokenizer"]["prepend_scheme"] = "first";
  CHECK(LoadJson(file)->tokenizer->Encode("a<m>a") == Ids{6, 7, 3});
  // Words are split at all white space, which only a map of characters makes spaces of.
  file["pre_tokenizer"] = Sequence("pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace});
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("WhitespaceSplit"), Error);
  file["pre_tokenizer"] = metaspace;
  file["model"]["unk_id"] = 7;
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("unk_id"), Error);
  file["model"]["unk_id"] = 0;
  file["model"]["vocab"][3] = Json::array({"a", "b"});
  CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains("a text and a score"), Error);
}

TEST_CASE("added_tokens.json beside a sentencepiece model") {
  const auto load = [](const Json& added, Json config = Json::object()) {
    const std::string folder = TempDir();
    config["tokenizer_class"] = "LlamaTokenizer";
    WriteFile(folder + "/tokenizer.model", SmallBpe());
    WriteFile(folder + "/tokenizer_config.json", config.dump());
    WriteFile(folder + "/added_tokens.json", added.dump());
    auto model = ReadFolderTokenizer(folder, {"", 0});
    REQUIRE(model);
    return LoadTokenizer(std::move(*model), folder);
  };
  const auto loaded = load({{"<p>", 14}, {"<q>", 15}}, {{"additional_special_tokens", {"<q>"}}});
  const Tokenizer& t = *loaded->tokenizer;
  CHECK(t.size() == 16);
  CHECK(t.Encode("ab<p><q>ab") == Ids{3, 7, 14, 15, 3, 7});
  CHECK(t.Decode(Ids{4, 14, 15, 4}) == "a<p>a");
  CHECK(t.FindToken("<q>") == 15);
  CHECK_THROWS_WITH_AS(load({{"<p>", 15}}), doctest::Contains("expected id 14"), Error);
  CHECK_THROWS_WITH_AS(load({{"<p>", 4}}), doctest::Contains("is that of 'a'"), Error);
  CHECK_THROWS_WITH_AS(load({{"<p>", 14}, {"<q>", 14}}), doctest::Contains("the same id"), Error);
  CHECK_THROWS_WITH_AS(load({{"<p>", -1}}), doctest::Contains("added_tokens.json"), Error);
  CHECK_THROWS_WITH_AS(load({{"<p>", 5000000000}}), doctest::Contains("an id below"), Error);
}

std::string Key(const char* name) {
  return std::string("tokenizer.ggml.") + name;
}

// The keys of the four kinds of tokenizer.
GgufParts KeysOf(const std::string& model) {
  std::vector<std::string> texts = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  if (model == "gpt2") {
    const Json vocab = ByteVocabulary();
    texts.resize(256);
    for (const auto& [text, id] : vocab.items()) texts[id.get<size_t>()] = text;
    types.assign(256, 1);
  }
  for (const char* text : {"ab", "abab", "\u2581a", "a", "b", "\u2581"}) {
    if (model == "gpt2" && std::string(text).size() != 2 && std::string(text) != "abab") continue;
    texts.push_back(text);
    types.push_back(1);
  }
  texts.push_back("<x>");
  types.push_back(model == "gpt2" ? 3 : 4);
  std::vector<float> scores;
  for (size_t i = 0; i < texts.size(); ++i) scores.push_back(-static_cast<float>(i));
  GgufParts parts;
  parts.pairs = {GgufText(Key("model"), model), GgufTexts(Key("tokens"), texts),
                 GgufI32s(Key("token_type"), types)};
  if (model == "gpt2") {
    parts.pairs.push_back(GgufText(Key("pre"), "llama-bpe"));
    parts.pairs.push_back(GgufTexts(Key("merges"), {"a b", "ab ab"}));
  } else if (model != "bert") {
    parts.pairs.push_back(GgufF32s(Key("scores"), scores));
  }
  for (const char* name : {"bos_token_id", "eos_token_id", "cls_token_id", "seperator_token_id"}) {
    parts.pairs.push_back(GgufU32(Key(name), 2));
  }
  parts.pairs.push_back(GgufU32(Key("unknown_token_id"), 0));
  return parts;
}

// The ids of a text; throws Error.
Ids EncodeWith(const std::string& file) {
  const std::string path = TempDir() + "/vocab.gguf";
  WriteFile(path, file);
  const auto gguf = Gguf::Open(path);
  auto model = ReadGgufTokenizer(*gguf);
  if (!model) return {};
  const auto loaded = LoadTokenizer(std::move(*model), path);
  const Ids ids = loaded->tokenizer->EncodeWithSpecial("abab a<x>\u4f60 b");
  for (const int32_t id : ids) {
    CHECK((id >= 0 && id < static_cast<int32_t>(loaded->tokenizer->size())));
  }
  loaded->tokenizer->Decode(ids);
  return ids;
}

TEST_CASE("GGUF: damaged tokenizer keys are refused or read, never more") {
  std::mt19937 random(11);
  for (const char* model : {"gpt2", "llama", "t5", "bert"}) {
    CAPTURE(std::string(model));
    const std::string whole = GgufBytes(KeysOf(model));
    CHECK(EncodeWith(whole).size() > 4);
    size_t refused = 0;
    for (int round = 0; round < 250; ++round) {
      std::string bytes = whole;
      for (unsigned n = 1 + random() % 3; n > 0; --n) {
        bytes[24 + random() % (bytes.size() - 24)] = static_cast<char>(random());
      }
      if (round % 5 == 0) bytes.resize(random() % bytes.size());
      try {
        EncodeWith(bytes);
      } catch (const Error&) {
        refused++;
      }
    }
    CHECK(refused > 50);
  }
}

TEST_CASE("GGUF: tokenizer keys that lie are refused by name") {
  const struct {
    const char* model;
    size_t index;  // of the pair that is replaced
    std::string pair;
    const char* message;
  } kCases[] = {
      {"gpt2", 0, GgufText(Key("model"), "rwkv"), "tokenizer.ggml.model"},
      {"gpt2", 1, GgufTexts(Key("tokens"), {}), "tokens"},
      {"gpt2", 1, GgufI32s(Key("tokens"), {1, 2}), "tokens"},
      {"gpt2", 2, GgufI32s(Key("token_type"), {1}), "token_type: expected 259 types, found 1"},
      {"gpt2", 2, GgufI32s(Key("token_type"), std::vector<int32_t>(259, 7)), "from 0 to 6"},
      {"gpt2", 3, GgufText(Key("pre"), "none such"), "known pre-tokenizer"},
      {"gpt2", 4, GgufTexts(Key("merges"), {"ab"}), "merges: 0"},
      {"gpt2", 4, GgufTexts(Key("merges"), {"a c"}), "'ac' is not in the vocabulary"},
      {"gpt2", 5, GgufU32(Key("bos_token_id"), 259), "bos_token_id"},
      {"gpt2", 5, GgufBool(Key("add_eos_token"), true), "bos_token_id is missing"},
      {"llama", 3, GgufF32s(Key("scores"), {1}), "scores: expected 10 scores, found 1"},
      {"llama", 3, GgufF32s(Key("scores"), std::vector<float>(10, INFINITY)), "finite"},
      {"t5", 5, GgufU32(Key("eos_token_id"), 10), "eos_token_id"},
      {"bert", 6, GgufU32(Key("unknown_token_id"), 99), "unknown_token_id"},
  };
  for (const auto& row : kCases) {
    CAPTURE(std::string(row.message));
    GgufParts parts = KeysOf(row.model);
    REQUIRE(row.index < parts.pairs.size());
    parts.pairs[row.index] = row.pair;
    CHECK_THROWS_WITH_AS(EncodeWith(GgufBytes(parts)), doctest::Contains(row.message), Error);
  }
}

}  // namespace
}  // namespace glint
