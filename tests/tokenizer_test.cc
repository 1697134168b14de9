#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "formats/import/sentencepiece.h"
#include "lib/error.h"
#include "lib/text/piece_index.h"
#include "lib/text/utf8.h"
#include "tests/spm_samples.h"
#include "tests/test_util.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;

std::unique_ptr<LoadedTokenizer> Load(const std::string& path, const std::string& rules) {
  return LoadSentencePiece(path, {rules, 0});
}

std::unique_ptr<LoadedTokenizer> LoadFixture(const std::string& rules) {
  return Load(DataDir() + "/tiny_spm.model", rules);
}

std::string FromBase64(const std::string& text) {
  const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    out += static_cast<char>(bits >> n_bits);
  }
  return out;
}

double Milliseconds(const std::function<void()>& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

struct Case {
  std::string text;
  Ids ids;
  std::string decoded;
};

TEST_CASE("fixture: plain rules") {
  const auto loaded = LoadFixture("plain");
  const Tokenizer& t = *loaded->tokenizer;
  const Case kCases[] = {
      {"", {}, ""},
      {"   ", {}, ""},
      {"hello", {20}, "hello"},
      {"  hello  hello ", {20, 20}, "hello hello"},
      {"abc", {18, 8}, "abc"},
      {"Ａ，", {5, 25, 23}, "A,"},
      {"你好\n世界", {5, 29, 5, 30}, "你好 世界"},
      {"\u200b\x7f", {}, ""},
      {"e\u0301", {5, 26}, "é"},
      {"hello<n>hello", {20, 4, 19}, "hello<n>hello"},
      {"bo!", {5, 7, 12, 24}, "bo!"},  // the unused piece "o!" is never chosen
  };
  for (const Case& c : kCases) {
    CAPTURE(c.text);
    CHECK(t.Encode(c.text) == c.ids);
    CHECK(t.EncodeWithSpecial(c.text) == c.ids);
    CHECK(t.Decode(c.ids) == c.decoded);
  }
  // An unknown character becomes the bytes of its UTF-8; a byte that is not UTF-8 those of U+FFFD.
  const int32_t byte0 = static_cast<int32_t>(t.size()) - 256;
  CHECK(t.Encode("Z") == Ids{5, byte0 + 'Z'});
  CHECK(t.Encode("\xFF") == Ids{5, byte0 + 0xEF, byte0 + 0xBF, byte0 + 0xBD});
  CHECK(t.Encode(std::string(1, '\0')) == Ids{5, byte0});
}

TEST_CASE("fixture: ChatGLM's rules look pieces up by name") {
  const auto loaded = LoadFixture("chatglm1");
  const Tokenizer& t = *loaded->tokenizer;
  const auto id = [&](std::string_view name) {
    const TokenizerTables tables = loaded->model.Tables();
    for (size_t i = 0; i < loaded->model.size(); ++i) {
      if (PieceOf(tables, i) == name) return static_cast<int32_t>(i);
    }
    FAIL("no piece");
    return -1;
  };
  CHECK(loaded->model.options["gmask_id"] == id("[gMASK]"));
  CHECK(t.EncodeWithSpecial("") == Ids{id("[gMASK]"), id("<sop>")});
  CHECK(t.EncodeWithSpecial("hello") == Ids{20, id("[gMASK]"), id("<sop>")});
  CHECK(t.Encode("a\n\tb") == Ids{17, 4, id("<|tab|>"), 7});
  CHECK(t.Decode(Ids{17, 4, id("<|tab|>"), 7}) == "a\n\tb");
  // Of a run the longest tag first, and of the tags only those that the vocabulary has.
  const Ids seven = {17, id("<|blank_4|>"), id("<|blank_3|>"), 7};
  CHECK(t.Encode("a       b") == seven);
  CHECK(t.Decode(seven) == "a       b");
  CHECK(t.Encode("a" + std::string(17, ' ')) == Ids{17, id("<|blank_8|>"), id("<|blank_8|>")});
  // Special tokens in text take the space around them, and each stretch is a text of its own.
  const Ids masked = {20, id("[MASK]"), 20};
  CHECK(t.Encode("hello[MASK]hello") == masked);
  CHECK(t.Encode("hello \n [MASK] \t\u3000hello") == masked);
  CHECK(t.Encode("<sop><eop><pad><unk>") == Ids{id("<sop>"), id("<eop>"), id("<pad>"), 0});
  CHECK(t.Decode(Ids{20, id("<pad>"), 20, id("<eop>")}) == "hello hello");
  CHECK(t.Decode(Ids{0}) == " \u2047 ");
  // [gMASK] is no special token of the published tokenizer's.
  const Ids gmask = t.Encode("[gMASK]");
  CHECK(std::find(gmask.begin(), gmask.end(), id("[gMASK]")) == gmask.end());
  // Tags are read from text, as the published code reads them, and only whole ones.
  CHECK(t.Decode(Ids{id("<0x3C>"), id("n"), id("<0x3E>")}) == "\n");
  CHECK(t.Decode(Ids{id("<"), id("n")}) == "<n");
}

TEST_CASE("ids that name nothing are skipped") {
  for (const char* rules : {"plain", "chatglm1"}) {
    const auto loaded = LoadFixture(rules);
    const int32_t n = static_cast<int32_t>(loaded->tokenizer->size());
    CHECK(loaded->tokenizer->Decode(Ids{-1, 20, n, INT32_MAX, INT32_MIN, 20}) == "hello hello");
  }
}

TEST_CASE("id_offset shifts every id") {
  const auto plain = LoadFixture("chatglm1");
  const auto shifted = LoadSentencePiece(DataDir() + "/tiny_spm.model", {"chatglm1", 20000});
  CHECK(shifted->tokenizer->size() == plain->tokenizer->size() + 20000);
  for (const char* text : {"hello", "你好\n  Z[MASK]x", ""}) {
    Ids ids = plain->tokenizer->EncodeWithSpecial(text);
    for (int32_t& id : ids) id += 20000;
    CHECK(shifted->tokenizer->EncodeWithSpecial(text) == ids);
    ids.insert(ids.begin(), 19999);  // an image token is no text
    CHECK(shifted->tokenizer->Decode(ids) ==
          plain->tokenizer->Decode(plain->tokenizer->EncodeWithSpecial(text)));
  }
}

TEST_CASE("ChatGLM-6B's vectors, exactly") {
  if (SkipWithoutReference("ChatGLM-6B's tokenizer vectors")) return;
  const auto loaded = Load(TokenizerDir("chatglm1") + "ice_text.model", "chatglm1");
  const auto plain = Load(TokenizerDir("chatglm1") + "ice_text.model", "plain");
  const Tokenizer& t = *loaded->tokenizer;
  const std::vector<Json> lines = ReadJsonLines(TokenizerDir("chatglm1") + "vectors.jsonl");
  CHECK(lines.size() == 195);
  for (const Json& line : lines) {
    const std::string text = line["text"];
    const Ids ids = line["ids"];
    CAPTURE(text);
    CHECK(t.Encode(text) == ids);
    CHECK(t.EncodeWithSpecial(text) == line["ids_special"].get<Ids>());
    CHECK(t.Decode(ids) == line["decoded"].get<std::string>());
    CHECK(StreamedText(t, ids) == line["decoded"].get<std::string>());
    CHECK(plain->tokenizer->Encode(text) == line["sp_ids_of_raw_text"].get<Ids>());
  }
  const std::vector<Json> raw = ReadJsonLines(TokenizerDir("chatglm1") + "vectors_raw_sp.jsonl");
  CHECK(raw.size() == 12);
  for (const Json& line : raw) {
    CAPTURE(line.dump());
    CHECK(plain->tokenizer->Encode(FromBase64(line["bytes_b64"])) == line["sp_ids"].get<Ids>());
  }
  MESSAGE(lines.size() << " + " << raw.size() << " vectors");
}

std::unique_ptr<LoadedTokenizer> LoadBpe(const std::string& rules,
                                         const std::string& trainer = "") {
  const std::string path = TempDir() + "/bpe.model";
  WriteFile(path, SmallBpe(trainer));
  return Load(path, rules);
}

TEST_CASE("BPE: what is merged, and when") {
  const auto loaded = LoadBpe("plain");
  const Tokenizer& t = *loaded->tokenizer;
  const Case kCases[] = {
      {"", {}, ""},
      {" ", {3, 3}, " "},
      {"a", {11}, "a"},
      {"abc", {3, 7, 6}, "abc"},                  // of equal scores the leftmost
      {"aaaaa", {3, 10, 4}, "aaaaa"},             // aa and aa, not a piece at a time
      {"<x>a<x", {3, 12, 4, 0}, "<x>a \u2047 "},  // user-defined, whole; unknown ones, once
      {"bca", {3, 5, 6, 4}, "bca"},               // an unused piece, made and taken apart
      {"\xFF", {3, 0}, " \u2047 "},
      {"</s>", {3, 0}, " \u2047 "},  // a control piece is not found in text
  };
  for (const Case& c : kCases) {
    CAPTURE(c.text);
    CHECK(t.Encode(c.text) == c.ids);
    CHECK(t.Decode(c.ids) == c.decoded);
    CHECK(StreamedText(t, c.ids) == c.decoded);
  }
}

TEST_CASE("BPE: what the rules put in front") {
  const auto llama = LoadBpe("llama");
  CHECK(llama->tokenizer->EncodeWithSpecial("") == Ids{1});
  CHECK(llama->tokenizer->EncodeWithSpecial("ab") == Ids{1, 3, 7});
  CHECK(llama->tokenizer->Decode(Ids{1, 3, 7, 2, 11}) == "ab a");
  CHECK(llama->model.options["bos_id"] == 1);
  CHECK_THROWS_WITH(LoadBpe("llama", Field(41, UINT64_MAX)), doctest::Contains("bos_id"));
  const auto unigram = LoadFixture("llama");
  CHECK(unigram->tokenizer->EncodeWithSpecial("hello") == Ids{1, 20});
  for (const auto& [rules, size] : {std::pair("chatglm2", 19), std::pair("chatglm3", 23)}) {
    const auto loaded = LoadBpe(rules);
    CHECK(loaded->tokenizer->size() == static_cast<size_t>(size));
    CHECK(loaded->tokenizer->EncodeWithSpecial("ab") == Ids{15, 17, 3, 7});
    CHECK(loaded->tokenizer->Decode(Ids{15, 17, 3, 7, 18}) == "ab");
    CHECK(loaded->model.options["gmask_id"] == 15);
    CHECK(loaded->model.options["sop_id"] == 17);
    CHECK(loaded->model.options["eop_id"] == 18);
  }
  Json options = llama->model.options;
  options["bos_id"] = 14;
  CHECK_THROWS_WITH_AS(Tokenizer::Create(options, llama->model.Tables(), "m"),
                       "m: bos_id: expected an id below 14, found 14", Error);
  options = llama->model.options;
  options["rules"] = "chatglm2";
  CHECK_THROWS_WITH_AS(Tokenizer::Create(options, llama->model.Tables(), "m"),
                       "m: expected gmask_id or a piece [gMASK], found neither", Error);
}

TEST_CASE("BPE: text of one character takes little more than linear time") {
  const auto loaded = LoadBpe("llama");
  for (const char* part : {"a", " ", "ca", "<x>", "abc", "\xFF", "\u4f60"}) {
    std::string text;
    while (text.size() < 1000000) text += part;
    CAPTURE(part);
    CHECK(Milliseconds([&] { loaded->tokenizer->Encode(text); }) < 10000);  // quadratic: hours
  }
}

TEST_CASE("BPE: the vectors of ChatGLM2, ChatGLM3 and LLaMA-2, exactly") {
  if (SkipWithoutReference("the BPE tokenizers' vectors")) return;
  const std::pair<const char*, const char*> kModels[] = {
      {"chatglm2", "chatglm2"}, {"chatglm3", "chatglm3"}, {"llama2", "llama"}};
  for (const auto& [folder, rules] : kModels) {
    const std::string dir = ReferenceDir() + "/tokenizers/" + folder + "/";
    CAPTURE(dir);
    const auto loaded = Load(dir + "tokenizer.model", rules);
    const Tokenizer& t = *loaded->tokenizer;
    const std::vector<Json> lines = ReadJsonLines(dir + "vectors.jsonl");
    CHECK(lines.size() == 195);
    for (const Json& line : lines) {
      const std::string text = line["text"];
      const Ids ids = line["ids"];
      CAPTURE(text);
      CHECK(t.Encode(text) == ids);
      CHECK(t.EncodeWithSpecial(text) == line["ids_special"].get<Ids>());
      CHECK(t.Decode(ids) == line["decoded"].get<std::string>());
      CHECK(t.Decode(line["ids_special"].get<Ids>()) == line["decoded"].get<std::string>());
      CHECK(StreamedText(t, ids) == line["decoded"].get<std::string>());
    }
    // LLaMA has no such file.
    const std::vector<Json> raw = ReadJsonLines(dir + "vectors_raw_sp.jsonl");
    CHECK(raw.size() == (rules == std::string("llama") ? 0 : 12));
    for (const Json& line : raw) {
      CAPTURE(line.dump());
      CHECK(t.Encode(FromBase64(line["bytes_b64"])) == line["sp_ids"].get<Ids>());
    }
    if (rules == std::string("llama")) continue;
    const Json meta = Json::parse(ReadFile(dir + "meta.json"));
    CHECK(t.size() == meta["vocab_size"].get<size_t>());
    for (const auto& [name, id] : meta["special"].items()) {
      CHECK(PieceOf(loaded->model.Tables(), id.get<size_t>()) == name);
      CHECK(t.Decode(Ids{id.get<int32_t>()}).empty());
    }
    const char* file = folder == std::string("chatglm2") ? "build_prompt.json" : nullptr;
    if (file == nullptr) continue;
    for (const Json& prompt : Json::parse(ReadFile(dir + file))) {
      CHECK(t.EncodeWithSpecial(prompt["prompt"].get<std::string>()) == prompt["ids"].get<Ids>());
    }
  }
}

// The first revision's ice_text.model ends before the special pieces, and its ids begin at 20000.
TEST_CASE("ChatGLM-6B's first revision gives the same ids, shifted") {
  if (SkipWithoutReference("ChatGLM-6B's first revision")) return;
  const std::string later = ReadFile(TokenizerDir("chatglm1") + "ice_text.model");
  std::string earlier;
  size_t at = 0;
  for (int piece = 0; piece < 130000; ++piece) {
    REQUIRE(later[at] == 0x0A);  // field 1, shorter than 128 bytes
    at += 2 + static_cast<uint8_t>(later[at + 1]);
  }
  earlier = later.substr(0, at);
  while (later[at] == 0x0A) at += 2 + static_cast<uint8_t>(later[at + 1]);
  earlier += later.substr(at) + Field(2, Field(35, uint64_t{0}));
  const std::string path = TempDir() + "/ice_text.model";
  WriteFile(path, earlier);
  const auto loaded = LoadSentencePiece(path, {"chatglm1", 20000});
  CHECK(loaded->tokenizer->size() == 150344);
  CHECK(loaded->model.options["gmask_id"] == 150001);
  CHECK(loaded->model.options["sop_id"] == 150004);
  CHECK(loaded->model.options["pad_id"] == 20003);
  for (const Json& line : ReadJsonLines(TokenizerDir("chatglm1") + "vectors.jsonl")) {
    Ids ids = line["ids_special"];
    for (int32_t& id : ids) id += 20000;
    CHECK(loaded->tokenizer->EncodeWithSpecial(line["text"].get<std::string>()) == ids);
  }
}

TEST_CASE("opening a vocabulary with its index is quick") {
  const bool reference = !ReferenceDir().empty();
  const auto loaded =
      Load(reference ? TokenizerDir("chatglm1") + "ice_text.model" : TinyVocabulary(), "chatglm1");
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    best = std::min(best, Milliseconds([&] {
                      Tokenizer::Create(loaded->model.options, loaded->model.Tables(), "test");
                    }));
  }
  MESSAGE(loaded->model.size() << " pieces opened in " << best << " ms");
  CHECK(best < 50);  // about 2.5 ms for 130344; loose, for slow and instrumented machines
}

TEST_CASE("text of one character takes linear time") {
  const auto loaded = LoadFixture("chatglm1");
  for (const char* part : {"a", " ", "\n", "<", "[", "<|blank_", "Z", "\xE4", "你", "\xFF",
                           "\u200b", "\xE2\x96\x81"}) {
    std::string text;
    while (text.size() < 1000000) text += part;
    CAPTURE(part);
    CHECK(Milliseconds([&] { loaded->tokenizer->Encode(text); }) < 10000);  // quadratic: hours
  }
}

TEST_CASE("a stream is the whole, for texts and for any ids") {
  for (const char* rules : {"plain", "chatglm1"}) {
    for (const std::string& path : {DataDir() + "/tiny_spm.model", TinyVocabulary()}) {
      const auto loaded = Load(path, rules);
      const Tokenizer& t = *loaded->tokenizer;
      for (const char* text :
           {"你好，世界！", "😀🎉 emoji\n\t  ", "<n><|tab|>", "é\xFFé", "<|blank_9"}) {
        const Ids ids = t.Encode(text);
        CHECK(StreamedText(t, ids) == t.Decode(ids));
      }
      std::mt19937 random(11);
      const int32_t n = static_cast<int32_t>(t.size());
      const std::string emoji = "😀你é<n><|blank_3|><|";
      for (int round = 0; round < 2000; ++round) {
        Ids ids;
        for (size_t k = random() % 12; k > 0; --k) {
          ids.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(n)));
          // Byte pieces of real characters, cut anywhere.
          const size_t begin = random() % emoji.size();
          for (size_t i = begin; i < std::min(emoji.size(), begin + random() % 6); ++i) {
            ids.push_back(n - 256 + static_cast<uint8_t>(emoji[i]));
          }
        }
        REQUIRE(StreamedText(t, ids) == t.Decode(ids));
      }
    }
  }
}

TEST_CASE("a detokenizer gives text as soon as it is certain") {
  const auto loaded = LoadFixture("chatglm1");
  Detokenizer stream(*loaded->tokenizer);
  const int32_t byte0 = static_cast<int32_t>(loaded->tokenizer->size()) - 256;
  CHECK(stream.Add(20) == "hello");
  CHECK(stream.Add(byte0 + 0xF0) == "");
  CHECK(stream.Add(byte0 + 0x9F) == "");
  CHECK(stream.Add(byte0 + 0x98) == "");
  CHECK(stream.Add(byte0 + 0x80) == "😀");
  CHECK(stream.Add(byte0 + 0xE4) == "");
  CHECK(stream.Add(20) == "\uFFFD hello");
  CHECK(stream.Add(byte0 + '<') == "");
  CHECK(stream.Add(byte0 + 'n') == "");
  CHECK(stream.Add(byte0 + '>') == "\n");
  CHECK(stream.Add(byte0 + 0xE4) == "");
  CHECK(stream.Finish() == "\uFFFD");
  CHECK(stream.Add(20) == "hello");
}

TEST_CASE("options are checked by name") {
  const auto loaded = LoadFixture("chatglm1");
  const std::pair<std::string, std::string> kCases[] = {
      {R"({"algorithm":"unigram","lowercase":true})", "m: 'lowercase': unknown tokenizer option"},
      {R"({"algorithm":"wordpiece"})",
       "m: expected a known algorithm and rules (unigram/plain, unigram/chatglm1, unigram/llama, "
       "bpe/plain, bpe/llama, bpe/chatglm2, bpe/chatglm3, merged_pieces/plain, byte_bpe/gpt2, "
       "byte_bpe/llama3, byte_bpe/qwen2, byte_bpe/glm4, word_piece/plain), found 'wordpiece/plain'"},
      {R"({"algorithm":"unigram","rules":"chatglm9"})",
       "m: expected a known algorithm and rules (unigram/plain, unigram/chatglm1, unigram/llama, "
       "bpe/plain, bpe/llama, bpe/chatglm2, bpe/chatglm3, merged_pieces/plain, byte_bpe/gpt2, "
       "byte_bpe/llama3, byte_bpe/qwen2, byte_bpe/glm4, word_piece/plain), found 'unigram/chatglm9'"},
      {R"({"algorithm":7})", "m: 'algorithm': expected a text, found number"},
      {R"({"algorithm":"unigram","byte_fallback":1})",
       "m: 'byte_fallback': expected true or false, found number"},
      {R"({"algorithm":"unigram","sop_id":"x"})",
       "m: 'sop_id': expected a whole number from -1 to 1073741823, found '\"x\"'"},
      {R"({"algorithm":"unigram","sop_id":4e9})",
       "m: 'sop_id': expected a whole number from -1 to 1073741823, found '4000000000.0'"},
      {R"({"algorithm":"unigram","sop_id":18446744073709551615})",
       "m: 'sop_id': expected a whole number from -1 to 1073741823, found '18446744073709551615'"},
      {R"({"algorithm":"unigram","id_offset":-1})",
       "m: 'id_offset': expected a whole number from 0 to 1073741823, found '-1'"},
      {R"({"algorithm":"unigram","unk_id":3})",
       "m: unk_id: expected 0, the piece of type unknown, found 3"},
      {R"([])", "m: expected an object, found array"},
  };
  for (const auto& [json, message] : kCases) {
    CAPTURE(json);
    CHECK_THROWS_WITH_AS(Tokenizer::Create(Json::parse(json), loaded->model.Tables(), "m"),
                         message.c_str(), Error);
  }
}

TEST_CASE("damaged tables are refused") {
  const auto loaded = LoadFixture("plain");
  using Model = ImportedTokenizer;
  const std::pair<const char*, void (*)(Model*)> kDamages[] = {
      {"fewer scores", [](Model* m) { m->scores.pop_back(); }},
      {"fewer types", [](Model* m) { m->types.pop_back(); }},
      {"fewer bytes", [](Model* m) { m->piece_bytes.pop_back(); }},
      {"more bytes", [](Model* m) { m->piece_bytes.push_back('x'); }},
      {"ends fall", [](Model* m) { std::swap(m->piece_ends[10], m->piece_ends[20]); }},
      {"negative end", [](Model* m) { m->piece_ends[3] = -5; }},
      {"empty piece", [](Model* m) { m->piece_ends[5] = m->piece_ends[4]; }},
      {"half a character", [](Model* m) { m->piece_ends[4] += 1; }},
      {"not UTF-8", [](Model* m) { m->piece_bytes[0] = 0xFF; }},
      {"type 0", [](Model* m) { m->types[7] = 0; }},
      {"type 7", [](Model* m) { m->types[7] = 7; }},
      {"two unknown", [](Model* m) { m->types[7] = 2; }},
      {"no unknown", [](Model* m) { m->types[0] = 3; }},
      {"NaN", [](Model* m) { m->scores[9] = std::numeric_limits<float>::quiet_NaN(); }},
      {"infinity", [](Model* m) { m->scores[9] = std::numeric_limits<float>::infinity(); }},
      {"no byte name", [](Model* m) { m->types[5] = 6; }},
      {"255 bytes", [](Model* m) { m->types.back() = 1; }},
      {"odd index", [](Model* m) { m->index.push_back(0); }},
      {"charsmap cut", [](Model* m) { m->charsmap.resize(3); }},
      {"charsmap root", [](Model* m) { m->charsmap[7] = 0x7F; }},
      {"charsmap size", [](Model* m) { m->charsmap[3] = 0xFF; }},
      {"charsmap without an end", [](Model* m) { m->charsmap.push_back('x'); }},
      {"charsmap long",
       [](Model* m) {
         m->charsmap.insert(m->charsmap.end(), 300, 'x');
         m->charsmap.push_back(0);
       }},
      {"nothing", [](Model* m) { *m = {{}, {}, {}, {}, {}, {}, {}, {}, {}, m->options}; }},
  };
  for (const auto& [name, damage] : kDamages) {
    CAPTURE(std::string(name));
    Model model = loaded->model;
    damage(&model);
    CHECK_THROWS_AS(Tokenizer::Create(model.options, model.Tables(), "m"), Error);
  }
}

TEST_CASE("a damaged index or charsmap gives other ids, never a crash or a hang") {
  const auto loaded = LoadFixture("plain");
  std::mt19937 random(5);
  const std::string text =
      "hello 你好 e\u0301 aaaaaaaaaaaaaaaaaa \uFDFA\xFF<n>x" + std::string(300, 'b');
  for (int round = 0; round < 3000; ++round) {
    ImportedTokenizer model = loaded->model;
    for (int k = 0; k < 8; ++k) {
      const int32_t n = static_cast<int32_t>(model.index.size());
      int32_t& value = model.index[random() % model.index.size()];
      const int32_t kValues[] = {static_cast<int32_t>(random()),
                                 static_cast<int32_t>(random() % n),
                                 ~static_cast<int32_t>(random() % n),
                                 INT32_MAX,
                                 INT32_MIN,
                                 0,
                                 -1};
      value = kValues[random() % std::size(kValues)];
      if (round % 2 == 0)
        model.charsmap[4 + random() % (model.charsmap.size() - 5)] = static_cast<uint8_t>(random());
    }
    try {
      const auto t = Tokenizer::Create(model.options, model.Tables(), "m");
      const Ids ids = t->Encode(text);
      for (const int32_t id : ids) REQUIRE((id >= 0 && id < static_cast<int32_t>(t->size())));
      t->Decode(ids);
    } catch (const Error&) {
      // A damaged charsmap may be refused.
    }
  }
}

TEST_CASE("BPE: a damaged index gives other ids, never a crash or a hang") {
  const auto loaded = LoadBpe("llama");
  std::mt19937 random(7);
  const std::string text = "abcabc caca<x>aaaa \u4f60\xFF" + std::string(1500, 'a');
  for (int round = 0; round < 1000; ++round) {
    ImportedTokenizer model = loaded->model;
    const uint32_t n = static_cast<uint32_t>(model.index.size());
    for (int k = 0; k < 6; ++k) {
      const int32_t kValues[] = {static_cast<int32_t>(random()), static_cast<int32_t>(random() % n),
                                 ~static_cast<int32_t>(random() % n), INT32_MIN, 0};
      model.index[random() % n] = kValues[random() % std::size(kValues)];
    }
    const auto t = Tokenizer::Create(model.options, model.Tables(), "m");
    const Ids ids = t->Encode(text);
    for (const int32_t id : ids) REQUIRE((id >= 0 && id < static_cast<int32_t>(t->size())));
    t->Decode(ids);
  }
}

TEST_CASE("without an index one is built, and finds the same") {
  const auto loaded = LoadFixture("plain");
  ImportedTokenizer model = loaded->model;
  model.index.clear();
  const auto t = Tokenizer::Create(model.options, model.Tables(), "m");
  for (const char* text : {"hello 你好", "abcabcabc", "aaaaaaaaaaaaaaaaaaa", "Ａ"}) {
    CHECK(t->Encode(text) == loaded->tokenizer->Encode(text));
  }
}

TEST_CASE("the index finds every piece and its prefixes") {
  const auto loaded = Load(TinyVocabulary(), "plain");
  const TokenizerTables tables = loaded->model.Tables();
  const PieceIndex index(tables);
  size_t found = 0, expected = 0;
  for (size_t id = 0; id < loaded->model.size(); ++id) {
    const auto type = static_cast<PieceType>(tables.types[id]);
    if (type != PieceType::kNormal && type != PieceType::kUserDefined) continue;
    expected++;
    size_t last = 0;
    index.ForEachPrefix(PieceOf(tables, id), [&](uint32_t prefix, size_t bytes) {
      CHECK(PieceOf(tables, prefix) == PieceOf(tables, id).substr(0, bytes));
      CHECK(bytes > last);
      last = bytes;
      found += prefix == id;
    });
  }
  CHECK(found == expected);
}

}  // namespace
}  // namespace glint
