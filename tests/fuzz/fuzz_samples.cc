#include "tests/fuzz/fuzz_samples.h"

#define DOCTEST_CONFIG_DISABLE  // tests/tokenizer_samples.h has checks, which become nothing
#include <cstdio>
#include <utility>
#include <vector>

#include "tests/fuzz/target.h"
#include "tests/spm_samples.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "tests/tokenizer_samples.h"
#pragma GCC diagnostic pop

namespace glint::fuzz {
namespace {

using nlohmann::json;

const std::string kSpace = "\xE2\x96\x81";  // U+2581

std::string BytePiece(int byte) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
  return text;
}

json Steps(const char* members, json steps) {
  return {{"type", "Sequence"}, {members, std::move(steps)}};
}

json Template(const std::string& token, int id) {
  return {{"type", "TemplateProcessing"},
          {"single",
           {{{"SpecialToken", {{"id", token}, {"type_id", 0}}}},
            {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
          {"pair", json::array()},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

}  // namespace

json ByteBpeJson() {
  json vocab = ByteVocabulary();
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  return {{"version", "1.0"},
          {"added_tokens", {Token(258, "<|x|>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer", ByteLevel(true)},
          {"post_processor", ByteLevel(true)},
          {"decoder", ByteLevel(true)},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}};
}

json Llama3Json() {
  constexpr const char* kPattern =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  json file = ByteBpeJson();
  file["pre_tokenizer"] = Steps("pretokenizers", {{{"type", "Split"},
                                                   {"pattern", {{"Regex", kPattern}}},
                                                   {"behavior", "Isolated"},
                                                   {"invert", false}},
                                                  ByteLevel(false)});
  file["post_processor"] = Steps("processors", {ByteLevel(true), Template("<|x|>", 258)});
  file["model"]["ignore_merges"] = true;
  return file;
}

json SentenceBpeJson() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocab[BytePiece(byte)] = 3 + byte;
  int id = 259;
  for (const std::string& text : {kSpace, std::string("a"), std::string("b"), kSpace + "a"}) {
    vocab[text] = id++;
  }
  const auto replace = [](const std::string& from, const std::string& to) {
    return json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  return {{"added_tokens", {Token(0, "<unk>"), Token(1, "<s>"), Token(2, "</s>")}},
          {"normalizer", Steps("normalizers",
                               {{{"type", "Prepend"}, {"prepend", kSpace}}, replace(" ", kSpace)})},
          {"pre_tokenizer", nullptr},
          {"post_processor", Template("<s>", 1)},
          {"decoder",
           Steps("decoders", {replace(kSpace, " "),
                              {{"type", "ByteFallback"}},
                              {{"type", "Fuse"}},
                              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {kSpace + " a"}}}}};
}

json WordPieceJson() {
  json vocab = json::object();
  int id = 0;
  for (const char* text : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "ab", "."}) {
    vocab[text] = id++;
  }
  return {{"added_tokens",
           {Token(0, "[PAD]"), Token(1, "[UNK]"), Token(2, "[CLS]"), Token(3, "[SEP]")}},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", vocab}}}};
}

json UnigramJson() {
  const json metaspace = {{"type", "Metaspace"}, {"replacement", kSpace}};
  json vocab = json::array();
  for (const auto& [text, score] : std::initializer_list<std::pair<std::string, double>>{
           {"<unk>", 0}, {"</s>", 0}, {kSpace, -4}, {"a", -3}, {"b", -3.5}, {"ab", -5}}) {
    vocab.push_back(json::array({text, score}));
  }
  return {{"added_tokens", {Token(0, "<unk>"), Token(1, "</s>"), Token(6, "<m>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer", metaspace},
          {"post_processor", nullptr},
          {"decoder", metaspace},
          {"model", {{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocab}}}};
}

std::string SmallBpeModel() {
  return SmallBpe();
}

std::string SmallUnigramModel() {
  std::string model = Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3);
  for (int byte = 0; byte < 256; ++byte) model += Piece(BytePiece(byte), 0, 6);
  for (const char* text : {"\u2581", "a", "b", "ab", "\u2581a", "\u4f60", "\u597d"}) {
    model += Piece(text, -static_cast<float>(model.size() % 7));
  }
  return model + Field(2, Field(3, uint64_t{1}) + Field(35, uint64_t{1})) +
         Field(3, Field(4, uint64_t{0}));
}

std::unique_ptr<LoadedTokenizer> LoadTokenizerJson(const json& file) {
  const std::string text = file.dump();
  const std::string path =
      AsFile({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "tokenizer.json");
  return LoadTokenizer(ReadTokenizerFile(path, {"", 0}), path);
}

test::SampleModel TinyModel(const std::string& name) {
  json change = {{"hidden_size", 16}, {"num_attention_heads", 2}};
  const json config = test::SampleOf(name).config;
  const auto reduce = [&](const char* key, int value) {
    if (config.contains(key)) change[key] = value;
  };
  reduce("intermediate_size", 20);
  reduce("ffn_hidden_size", 20);
  reduce("num_hidden_layers", name == "gemma2" ? 2 : 1);
  reduce("num_layers", 1);
  reduce("num_key_value_heads", 1);
  reduce("multi_query_group_num", 1);
  reduce("kv_channels", 8);
  reduce("head_dim", 8);
  reduce("vocab_size", 264);
  reduce("padded_vocab_size", 264);
  reduce("num_experts", 3);
  reduce("num_local_experts", 3);
  reduce("moe_intermediate_size", 8);
  reduce("shared_expert_intermediate_size", 8);
  if (config.contains("tie_word_embeddings")) change["tie_word_embeddings"] = true;
  return test::SampleOf(name, change);
}

std::string TinySafetensors(const test::SampleModel& sample) {
  return ReadFile(test::WriteFolder(sample, "F16") + "/model.safetensors");
}

std::string TinyGguf(const test::SampleModel& sample, const std::string& type) {
  const std::string path = Folder() + "/sample.gguf";
  test::WriteGguf(sample, path, type);
  return ReadFile(path);
}

}  // namespace glint::fuzz
