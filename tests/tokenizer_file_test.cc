// Tokenizers through a .glint file: a folder's, converted and opened, gives the same ids.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <random>

#include "tests/convert_samples.h"
#include "tests/llama_samples.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;

// A tokenizer.json of bytes and some merges, one of them before those of its parts.
Json BytesFile() {
  Json vocab = ByteVocabulary();
  int id = 256;
  for (const char* text : {"abcd", "ab", "cd", "xyz", "\u0120a"}) vocab[text] = id++;
  return {{"added_tokens", {Token(261, "<s>"), Token(262, "<tool>", false), Token(263, "</s>")}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", ByteLevel(true)},
          {"decoder", ByteLevel(true)},
          {"model",
           {{"type", "BPE"},
            {"ignore_merges", true},
            {"vocab", vocab},
            {"merges", {"a b", "ab cd", "c d", "\u0120 a"}}}}};
}

Json PiecesFile() {
  const std::string space = "\u2581";
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {space, 3},        {"a", 4},
                {"b", 5},     {"c", 6},   {"ab", 7},   {space + "ab", 8}, {"abc", 9}};
  Json normalizers = {{{"type", "Prepend"}, {"prepend", space}},
                      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}}};
  return {{"added_tokens",
           {Token(0, "<unk>"), Token(1, "<s>"), Token(2, "</s>"), Token(10, "<tool>", false)}},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"vocab", vocab},
            {"merges", {"a b", space + " ab", "ab c"}}}}};
}

Json WordsFile() {
  const char* kWords[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "ab", "##ab", "a", "##c", "\u4f60"};
  Json vocab = Json::object();
  for (const char* word : kWords) vocab[word] = vocab.size();
  return {{"added_tokens", {Token(1, "[UNK]"), Token(2, "[CLS]"), Token(3, "[SEP]")}},
          {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}}},
          {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocab}}}};
}

void CheckThroughFile(const Json& file) {
  test::LlamaShape shape;
  const auto loaded = LoadJson(file);
  shape.vocab_size = loaded->tokenizer->size();
  shape.max_seq_len = 64;
  const std::string folder = test::LlamaFolder(shape);
  WriteFile(folder + "/tokenizer.json", file.dump());
  const auto model = test::ConvertAndOpen(folder, DType::kF32);
  REQUIRE(model->tokenizer());
  const Tokenizer &want = *loaded->tokenizer, &got = *model->tokenizer();
  CHECK(got.size() == want.size());
  std::mt19937 random(2);
  const char* kParts[] = {"ab",   "cd",    "abcd",   "xyz", " ",      "a",      "c",
                          "</s>", "[SEP]", "<tool>", "\n",  "\u4f60", "\u00e9", "e\u0301",
                          "  ",   "Ab",    "[UNK]",  "'s",  "\xF0"};
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (unsigned n = random() % 8; n > 0; --n) text += kParts[random() % std::size(kParts)];
    CAPTURE(text);
    const Ids ids = want.Encode(text);
    REQUIRE(got.Encode(text) == ids);
    REQUIRE(got.EncodeWithSpecial(text) == want.EncodeWithSpecial(text));
    REQUIRE(got.EncodePlain(text) == want.EncodePlain(text));
    REQUIRE(got.EncodeParsed(text) == want.EncodeParsed(text));
    REQUIRE(got.Decode(ids) == want.Decode(ids));
    Ids pair, types, want_pair, want_types;
    REQUIRE(got.EncodePair(text, "a", &pair, &types) ==
            want.EncodePair(text, "a", &want_pair, &want_types));
    REQUIRE(pair == want_pair);
    REQUIRE(types == want_types);
  }
  for (const char* token : {"<tool>", "</s>", "[CLS]", "none"}) {
    CHECK(got.FindToken(token) == want.FindToken(token));
  }
}

TEST_CASE("byte-level BPE through a .glint file") {
  CheckThroughFile(BytesFile());
}

TEST_CASE("BPE by merges of pieces through a .glint file") {
  CheckThroughFile(PiecesFile());
}

TEST_CASE("WordPiece through a .glint file") {
  CheckThroughFile(WordsFile());
}

}  // namespace
}  // namespace glint
