// Tokenizer files: sentencepiece and tokenizer.json (RELIABILITY.md 2.4).
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tests/fuzz/fuzz_samples.h"
#include "tests/hostile/runner.h"
#include "tests/import_files.h"
#include "tests/spm_samples.h"

namespace glint::hostile {
namespace {

using nlohmann::json;
using namespace std::string_literals;
using test::Repeat;
using test::U32;

const std::string kUnk = Piece("<unk>", 0, 2);
const std::string kSmall = kUnk + Piece("a", -1) + Piece("b", -2);
const std::string kTrainer = Field(2, Field(3, uint64_t{1}));

std::string Charsmap(const std::string& bytes) {
  return kSmall + Field(3, Field(2, std::string_view(bytes)));
}

void AddSentencePiece(Cases* cases) {
  const auto refuse = [&](const std::string& name, const std::string& bytes,
                          const char* words = "") {
    cases->push_back(
        {"spm/" + name, Stage::kSentencePiece, "x.model", {{"x.model", bytes}}, false, words});
  };
  const std::string eleven(11, '\x80');
  const std::pair<const char*, std::string> kWire[] = {
      {"varint_11", kSmall + eleven},
      {"varint_open", kSmall + "\x80"},
      {"length_max", kSmall + "\x0a" + Varint(~uint64_t{0})},
      {"length_2e31", kSmall + "\x0a" + Varint(0x7FFFFFFF)},
      {"length_one_more", "\x0a" + Varint(kUnk.size() - 1) + kUnk.substr(2)},
      {"inner_length",
       "\x0a\x04\x0a\x7F"
       "ab"},
      {"wire_6", kSmall + "\x0e"},
      {"wire_7", kSmall + "\x0f"},
      {"open_group", kSmall + "\x0b"},
      {"nested_groups", kSmall + Repeat("\x0b", 50000)},
      {"field_0", kSmall + "\x02\x01"
                           "a"}};
  for (const auto& [name, bytes] : kWire) refuse(name, bytes);
  refuse("empty", "");
  refuse("no_pieces", kTrainer);
  refuse("no_unknown", Piece("a", -1) + kTrainer);
  refuse("two_unknown", kSmall + Piece("<u>", 0, 2) + kTrainer);
  refuse("piece_twice", kSmall + Piece("a", -3) + kTrainer);
  refuse("piece_empty", kSmall + Piece("", -3) + kTrainer);
  refuse("piece_utf8", kSmall + Piece("\xFF", -3) + kTrainer);
  refuse("piece_200000", kSmall + Piece(std::string(200000, 'a'), -3) + kTrainer);
  for (const float score : {NAN, INFINITY}) {
    refuse("score_" + std::to_string(score), kSmall + Piece("c", score) + kTrainer);
  }
  for (const char* piece : {"<0xZZ>", "<0x-1>", "<0x100>", "<0x4>"}) {
    refuse(std::string("byte_") + piece, kSmall + Piece(piece, 0, 6) + kTrainer);
  }
  refuse("byte_one_of_256", kSmall + Piece("<0x41>", 0, 6) + Field(2, Field(35, uint64_t{1})));
  for (const uint64_t field : {40, 41, 42, 43}) {
    refuse("id_" + std::to_string(field), kSmall + Field(2, Field(field, uint64_t{1000000})));
  }
  for (size_t n = 1; n < 4; ++n)
    refuse("charsmap_" + std::to_string(n), Charsmap(std::string(n, 'x')));
  refuse("charsmap_max", Charsmap(U32(~0u) + "xxxx"));
  refuse("charsmap_7", Charsmap(U32(7) + std::string(20, '\0')));
  refuse("charsmap_0", Charsmap(U32(0) + std::string(20, '\0')));
  refuse("charsmap_root", Charsmap(U32(8) + U32(1u << 29) + U32(0) + "\0"s));
  refuse("charsmap_leaf", Charsmap(U32(8) + U32(1u << 31 | 1 << 10) + U32(0) + "\0"s));
  for (const auto& [name, text, words] :
       {std::tuple("html", "<!DOCTYPE html><html></html>", "HTML"),
        std::tuple("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                   "git-lfs")}) {
    cases->push_back({std::string("spm/") + name,
                      Stage::kTokenizer,
                      "x.model",
                      {{"x.model", text}},
                      false,
                      words});
  }
  const auto accept = [&](const std::string& name, const std::string& bytes) {
    cases->push_back(
        {"spm/ok_" + name, Stage::kSentencePiece, "x.model", {{"x.model", bytes}}, true});
  };
  accept("small", kSmall);
  accept("bpe", SmallBpe());
  accept("unigram", fuzz::SmallUnigramModel());
  accept("piece_nul", kSmall + Piece("c\0d"s, -1));
  accept("vocab_size", kSmall + Field(2, Field(4, uint64_t{9999})));
  accept("unknown_field", kSmall + Field(200, "x"));
  accept("two_trainers", kSmall + kTrainer + kTrainer);
}

using Change = std::function<void(json*)>;

class Adder {
 public:
  Adder(Cases* cases, json good) : cases_(cases), good_(std::move(good)) {}
  void Raw(const std::string& name, const std::string& bytes, const std::string& words = "") const {
    cases_->push_back({"tokenizer_json/" + name,
                       Stage::kTokenizer,
                       "tokenizer.json",
                       {{"tokenizer.json", bytes}},
                       false,
                       words});
  }
  void operator()(const std::string& name, const Change& change,
                  const std::string& words = "") const {
    json file = good_;
    change(&file);
    Raw(name, file.dump(), words);
  }
  void Accept(const std::string& name, const json& file) const {
    cases_->push_back({"tokenizer_json/ok_" + name,
                       Stage::kTokenizer,
                       "tokenizer.json",
                       {{"tokenizer.json", file.dump()}},
                       true});
  }

 private:
  Cases* cases_;
  json good_;
};

void AddSyntax(const Adder& add, const std::string& good) {
  add.Raw("empty", "");
  add.Raw("bom", "\xEF\xBB\xBF" + good, "byte order mark");
  std::string utf16 = "\xFF\xFE";
  for (const char c : good) (utf16 += c) += '\0';
  add.Raw("utf16", utf16);
  add.Raw("utf8", good.substr(0, good.size() - 1) + ",\"\xFF\":1}");
  add.Raw("surrogate", good.substr(0, good.size() - 1) + ",\"\\ud800\":1}");
  add.Raw("twice", good.substr(0, good.size() - 1) + ",\"model\":{}}", "twice");
  add.Raw("deep", Repeat("[", 100000), "deeper");
  add.Raw("deep_normalizer",
          "{\"model\":{},\"normalizer\":" +
              Repeat("{\"type\":\"Sequence\",\"normalizers\":[", 5000) + Repeat("]}", 5000) + "}",
          "deeper");
  add.Raw("array", "[]");
  add.Raw("number", "1");
  for (size_t i = 1; i < 6; ++i) {
    add.Raw("trunc_" + std::to_string(i), good.substr(0, good.size() * i / 6));
  }
}

void AddVocabulary(const Adder& add) {
  const json kIds[] = {"3", 0.5, -1, 4294967296, 4000000000u, 1e300, true, nullptr, json::array()};
  for (const json& id : kIds) {
    add("id_" + id.dump(), [&](json* f) { (*f)["model"]["vocab"]["a"] = id; });
    add("added_id_" + id.dump(), [&](json* f) { (*f)["added_tokens"][0]["id"] = id; });
  }
  add.Raw("id_1e400", R"({"model":{"type":"BPE","vocab":{"a":1e400},"merges":[]}})");
  add("id_twice", [](json* f) { (*f)["model"]["vocab"]["a"] = (*f)["model"]["vocab"]["b"]; });
  const json kMerges[] = {"a",
                          "a b c",
                          "",
                          " ",
                          "a  b",
                          "q\u00f1 b",
                          5,
                          json::array({"a"}),
                          json::array({"a", "b", "c"}),
                          json::array({1, 2}),
                          nullptr};
  size_t n = 0;
  for (const json& merge : kMerges) {
    add("merge_" + std::to_string(n++),
        [&](json* f) { (*f)["model"]["merges"] = json::array({merge}); });
  }
  add("merges_object", [](json* f) { (*f)["model"]["merges"] = json::object(); });
  add("merges_missing", [](json* f) { (*f)["model"].erase("merges"); });
  add("vocab_missing", [](json* f) { (*f)["model"].erase("vocab"); });
  add("vocab_array", [](json* f) { (*f)["model"]["vocab"] = {1, 2}; });
  add("added_conflict", [](json* f) { (*f)["added_tokens"][0]["id"] = 3; });
  add("added_empty", [](json* f) { (*f)["added_tokens"][0]["content"] = ""; });
  add("added_content", [](json* f) { (*f)["added_tokens"][0]["content"] = 1; });
  add("added_object", [](json* f) { (*f)["added_tokens"] = json::object(); });
  add("added_twice", [](json* f) {
    json token = (*f)["added_tokens"][0];
    token["content"] = "other";
    (*f)["added_tokens"].push_back(token);
  });
}

void AddComponents(const Adder& add) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}) {
    add(
        std::string(part) + "_unknown", [&](json* f) { (*f)[part]["type"] = "NoSuch"; }, "NoSuch");
    add(std::string(part) + "_no_type", [&](json* f) { (*f)[part] = {{"x", 1}}; });
    add(std::string(part) + "_number", [&](json* f) { (*f)[part] = 7; });
  }
  const auto split = [&](const std::string& name, const std::string& regex) {
    add("regex_" + name, [&](json* f) {
      (*f)["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers",
                                {{{"type", "Split"},
                                  {"pattern", {{"Regex", regex}}},
                                  {"behavior", "Isolated"},
                                  {"invert", false}}}}};
    });
  };
  split("invalid", "(((");
  split("nested", Repeat("(", 100000) + Repeat(")", 100000));
  split("bomb", "(a{1000}){1000}");
  split("empty", "");
}

}  // namespace

void AddTokenizerCases(Cases* cases) {
  AddSentencePiece(cases);
  const json good = fuzz::ByteBpeJson();
  const Adder add(cases, good);
  AddSyntax(add, good.dump());
  AddVocabulary(add);
  AddComponents(add);
  add.Accept("byte_bpe", good);
  add.Accept("llama3", fuzz::Llama3Json());
  add.Accept("byte_fallback", fuzz::SentenceBpeJson());
  add.Accept("word_piece", fuzz::WordPieceJson());
  add.Accept("unigram", fuzz::UnigramJson());
  const Adder unigram(cases, fuzz::UnigramJson());
  for (const json& id : {json(-1), json(99), json("0"), json(1e300)}) {
    unigram("unk_id_" + id.dump(), [&](json* f) { (*f)["model"]["unk_id"] = id; });
  }
  unigram("score_string", [](json* f) { (*f)["model"]["vocab"][3][1] = "x"; });
  unigram("pair_of_three", [](json* f) { (*f)["model"]["vocab"][3].push_back(1); });
  json array = good;
  array["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
  add.Accept("merges_as_pairs", array);
}

}  // namespace glint::hostile
