// tokenizer.json and tiktoken's rank files, made here from vocabularies whose ids are known.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <random>

#include "formats/import/bpe_tables.h"
#include "formats/import/imported_tokenizer.h"
#include "formats/import/sentencepiece.h"
#include "lib/error.h"
#include "lib/text/piece_index.h"
#include "tests/spm_samples.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;

constexpr char kQwen2Pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const std::string kSpace = "\u2581";

Json MergesOf(const std::string& path, bool as_pairs) {
  Json merges = Json::array();
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#version") || line.empty()) continue;
    const size_t space = line.find(' ');
    if (as_pairs) {
      merges.push_back({line.substr(0, space), line.substr(space + 1)});
    } else {
      merges.push_back(line);
    }
  }
  return merges;
}

Json ByteBpeFile(const std::string& folder, bool as_pairs) {
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", ByteLevel(true)},
          {"post_processor", ByteLevel(false)},
          {"decoder", ByteLevel(true)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"vocab", Json::parse(ReadFile(folder + "vocab.json"))},
            {"merges", MergesOf(folder + "merges.txt", as_pairs)}}}};
}

TEST_CASE("tokenizer.json of GPT-2 and Qwen2: the vectors") {
  if (SkipWithoutReference("tokenizer.json of GPT-2 and Qwen2")) return;
  const std::string gpt2 = TokenizerDir("gpt2"), qwen2 = TokenizerDir("qwen2");
  Json file = ByteBpeFile(gpt2, false);
  file["added_tokens"].push_back(Token(50256, "<|endoftext|>"));
  CheckVectors(*LoadJson(file)->tokenizer, gpt2 + "vectors.jsonl");

  file = ByteBpeFile(qwen2, true);
  file["normalizer"] = {{"type", "NFC"}};
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"},
                              {"pattern", {{"Regex", kQwen2Pattern}}},
                              {"behavior", "Isolated"},
                              {"invert", false}},
                             ByteLevel(false)}}};
  file["added_tokens"] = {Token(151643, "<|endoftext|>"), Token(151644, "<|im_start|>"),
                          Token(151645, "<|im_end|>")};
  const auto loaded = LoadJson(file);
  const Tokenizer& t = *loaded->tokenizer;
  CheckVectors(t, qwen2 + "vectors.jsonl");
  CHECK(t.Encode("<|im_start|>user") == Ids{151644, 872});
  CHECK(t.EncodePlain("<|im_end|>").size() > 1);
  CHECK(t.FindToken("<|im_end|>") == 151645);
  CHECK(t.Decode(Ids{151644, 872, 151645}) == "user");
}

// The library's own conversion of a sentencepiece model: of each piece all ways to make it of two,
// the pieces by their scores.
Json Llama2File(const ImportedTokenizer& model) {
  const TokenizerTables tables = model.Tables();
  Json vocab = Json::object();
  std::unordered_map<std::string, int32_t> ids;
  std::vector<std::pair<float, size_t>> order;
  for (size_t id = 0; id < model.size(); ++id) {
    const std::string text(PieceOf(tables, id));
    vocab[text] = id;
    if (model.types[id] != 1) continue;
    ids.emplace(text, static_cast<int32_t>(id));
    order.emplace_back(-model.scores[id], id);
  }
  std::sort(order.begin(), order.end());
  Json merges = Json::array();
  for (const auto& [score, id] : order) {
    const std::string text(PieceOf(tables, id));
    std::vector<std::pair<int32_t, int32_t>> cuts;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
      if (left != ids.end() && right != ids.end()) cuts.emplace_back(left->second, right->second);
    }
    std::sort(cuts.begin(), cuts.end());
    for (const auto& [left, right] : cuts) {
      merges.push_back({std::string(PieceOf(tables, static_cast<size_t>(left))),
                        std::string(PieceOf(tables, static_cast<size_t>(right)))});
    }
  }
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}};
  const Json back = {{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}};
  return {{"added_tokens", Json::array()},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers", {{{"type", "Prepend"}, {"prepend", kSpace}}, replace}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"pair", Json::array()},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {back,
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", "<unk>"},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", merges}}}};
}

TEST_CASE("tokenizer.json of LLaMA-2: the vectors") {
  if (SkipWithoutReference("tokenizer.json of LLaMA-2")) return;
  const std::string dir = TokenizerDir("llama2");
  Json file = Llama2File(ReadSentencePiece(dir + "tokenizer.model"));
  CheckVectors(*LoadJson(file)->tokenizer, dir + "vectors.jsonl");
  file["added_tokens"] = {Token(0, "<unk>"), Token(1, "<s>"), Token(2, "</s>")};
  const auto loaded = LoadJson(file);
  CHECK(loaded->tokenizer->Encode("a</s>a") == Ids{263, 2, 263});
  CHECK(loaded->tokenizer->Decode(Ids{1, 263, 2}) == "a");
}

TEST_CASE("tokenizer.json of BERT: the vectors") {
  if (SkipWithoutReference("tokenizer.json of BERT")) return;
  const std::string dir = TokenizerDir("bert-base-uncased");
  Json vocab = Json::object();
  std::ifstream in(dir + "vocab.txt");
  int id = 0;
  for (std::string line; std::getline(in, line);) vocab[line] = id++;
  const auto special = [](const char* text, int type) {
    return Json{{"SpecialToken", {{"id", text}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* text, int type) {
    return Json{{"Sequence", {{"id", text}, {"type_id", type}}}};
  };
  const Json file = {{"added_tokens",
                      {Token(100, "[UNK]"), Token(101, "[CLS]"), Token(102, "[SEP]"),
                       Token(103, "[MASK]"), Token(0, "[PAD]")}},
                     {"normalizer",
                      {{"type", "BertNormalizer"},
                       {"clean_text", true},
                       {"handle_chinese_chars", true},
                       {"strip_accents", nullptr},
                       {"lowercase", true}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"post_processor",
                      {{"type", "TemplateProcessing"},
                       {"single", {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)}},
                       {"pair",
                        {special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0),
                         sequence("B", 1), special("[SEP]", 1)}},
                       {"special_tokens",
                        {{"[CLS]", {{"id", "[CLS]"}, {"ids", {101}}}},
                         {"[SEP]", {{"id", "[SEP]"}, {"ids", {102}}}}}}}},
                     {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}}},
                     {"model",
                      {{"type", "WordPiece"},
                       {"unk_token", "[UNK]"},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", vocab}}}};
  const auto loaded = LoadJson(file);
  CheckVectors(*loaded->tokenizer, dir + "vectors.jsonl");
  Ids ids, types;
  CHECK(loaded->tokenizer->EncodePair("a", "b", &ids, &types));
  CHECK(ids == Ids{101, 1037, 102, 1038, 102});
  Json cleaned = file;
  cleaned["decoder"]["cleanup"] = true;
  CHECK(LoadJson(cleaned)->tokenizer->Decode(Ids{1037, 1010, 1037, 1012}) == "a, a.");
}

TEST_CASE("tiktoken's rank files of GPT-2's and Qwen2's vocabularies: the vectors") {
  if (SkipWithoutReference("rank files")) return;
  for (const char* name : {"gpt2", "qwen2"}) {
    const Json vocab = Json::parse(ReadFile(TokenizerDir(name) + "vocab.json"));
    std::vector<std::string> lines(vocab.size());
    std::string bytes;
    for (const auto& [text, id] : vocab.items()) {
      if (text == "<|endoftext|>") continue;
      REQUIRE(FromByteText(text, &bytes));
      lines[id.get<size_t>()] = Base64(bytes) + " " + std::to_string(id.get<int>()) + "\n";
    }
    std::string file;
    for (const std::string& line : lines) file += line;
    const std::string path = TempDir() + "/tokenizer.model";
    WriteFile(path, file);
    auto model = ReadTokenizerFile(path, {name, 0});
    CheckVectors(*LoadTokenizer(std::move(model), path)->tokenizer,
                 TokenizerDir(name) + "vectors.jsonl");
    // As LLaMA-3 and as GLM-4, with what their code puts around a text.
    const auto llama = LoadTokenizer(ReadTokenizerFile(path, {"llama3", 0}), path);
    const int32_t n = static_cast<int32_t>(file.empty() ? 0 : llama->model.size()) - 256;
    CHECK(llama->tokenizer->FindToken("<|eot_id|>") == n + 9);
    CHECK(llama->tokenizer->FindToken("<|reserved_special_token_250|>") == n + 255);
    CHECK(llama->tokenizer->EncodeWithSpecial("") == Ids{n});
    const std::string folder = TempDir();
    WriteFile(folder + "/tokenizer.model", file);
    const Json config = {{"tokenizer_class", "ChatGLM4Tokenizer"},
                         {"added_tokens_decoder",
                          {{std::to_string(n), Token(0, "[gMASK]")},
                           {std::to_string(n + 1), Token(0, "<sop>")},
                           {std::to_string(n + 2), Token(0, "<|user|>")}}}};
    WriteFile(folder + "/tokenizer_config.json", config.dump());
    auto glm_model = ReadFolderTokenizer(folder, {"", 0});
    REQUIRE(glm_model);
    const auto glm = LoadTokenizer(std::move(*glm_model), folder);
    CHECK(glm->tokenizer->EncodeWithSpecial("<|user|>") == Ids{n, n + 1, n + 2});
  }
}

// Small enough for every part of it to be damaged.
Json SmallFile() {
  Json vocab = ByteVocabulary();
  vocab["ab"] = 256;
  return {{"added_tokens", {Token(257, "<x>")}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", ByteLevel(true)},
          {"post_processor", nullptr},
          {"decoder", ByteLevel(true)},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}}}};
}

TEST_CASE("what a tokenizer.json says and we cannot do is refused by name") {
  CHECK(LoadJson(SmallFile())->tokenizer->Encode("ab<x>") == Ids{256, 257});
  const std::pair<const char*, void (*)(Json*)> kCases[] = {
      {"'normalizer'",
       [](Json* f) {
         (*f)["normalizer"] = {{"type", "NFKC"}};
       }},
      {"NFKC",
       [](Json* f) {
         (*f)["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}};
       }},
      {"Digits",
       [](Json* f) {
         (*f)["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers", {{{"type", "Digits"}}, {{"type", "ByteLevel"}}}}};
       }},
      {"[0-9]+",
       [](Json* f) {
         (*f)["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers",
              {{{"type", "Split"}, {"pattern", {{"Regex", "[0-9]+"}}}, {"behavior", "Isolated"}},
               {{"type", "ByteLevel"}, {"use_regex", false}}}}};
       }},
      {"Punctuation",
       [](Json* f) {
         (*f)["normalizer"] = nullptr;
         (*f)["pre_tokenizer"] = {{"type", "Punctuation"}};
       }},
      {"'decoder'",
       [](Json* f) {
         (*f)["decoder"] = {{"type", "BPEDecoder"}};
       }},
      {"CTC",
       [](Json* f) {
         (*f)["post_processor"] = {{"type", "CTC"}};
       }},
      {"WordLevel", [](Json* f) { (*f)["model"]["type"] = "WordLevel"; }},
      {"dropout", [](Json* f) { (*f)["model"]["dropout"] = 0.1; }},
      {"end_of_word_suffix", [](Json* f) { (*f)["model"]["end_of_word_suffix"] = "</w>"; }},
      {"single_word", [](Json* f) { (*f)["added_tokens"][0]["single_word"] = true; }},
      {"byte 98",
       [](Json* f) {
         (*f)["model"]["vocab"].erase("b");
         (*f)["model"]["merges"] = Json::array();
       }},
      {"two tokens", [](Json* f) { (*f)["model"]["vocab"]["zz"] = 3; }},
      {"is that of", [](Json* f) { (*f)["added_tokens"][0]["id"] = 3; }},
      {"merge 0", [](Json* f) { (*f)["model"]["merges"] = {"a  b"}; }},
      {"not in the vocabulary", [](Json* f) { (*f)["model"]["merges"] = {"a c"}; }},
      {"an id near", [](Json* f) { (*f)["model"]["vocab"]["far"] = 4000000; }},
      {"'model' ", [](Json* f) { f->erase("model"); }},
  };
  for (const auto& [message, change] : kCases) {
    CAPTURE(std::string(message));
    Json file = SmallFile();
    change(&file);
    CHECK_THROWS_WITH_AS(LoadJson(file), doctest::Contains(message), Error);
  }
}

// Replaces some value of the file by one of another kind.
void Damage(std::mt19937* random, Json* value) {
  if (value->is_structured() && !value->empty() && (*random)() % 8 != 0) {
    auto member = value->begin();
    std::advance(member, static_cast<std::ptrdiff_t>((*random)() % value->size()));
    Damage(random, &*member);
    return;
  }
  const Json kValues[] = {nullptr,
                          true,
                          -1,
                          7,
                          1e300,
                          4294967296,
                          "",
                          "\u00e9",
                          "ByteLevel",
                          Json::array(),
                          Json::object(),
                          {{"type", "Sequence"}},
                          {1, "a"}};
  *value = kValues[(*random)() % std::size(kValues)];
}

TEST_CASE("damaged files are refused or read, never more") {
  std::mt19937 random(9);
  size_t refused = 0;
  for (int round = 0; round < 300; ++round) {
    Json file = SmallFile();
    Damage(&random, &file);
    try {
      LoadJson(file)->tokenizer->Encode("ab <x> \u4f60");
    } catch (const Error&) {
      refused++;
    }
  }
  CHECK(refused > 100);
  const std::string text = SmallFile().dump();
  const std::string path = TempDir() + "/cut.json";
  for (int round = 0; round < 300; ++round) {
    std::string bytes = text;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    if (round % 3 == 0) bytes.resize(random() % bytes.size());
    WriteFile(path, bytes);
    try {
      ReadTokenizerFile(path, {"", 0});
    } catch (const Error&) {
    }
  }
}

TEST_CASE("damaged rank files, vocab.json and vocab.txt are refused by line") {
  const std::string path = TempDir() + "/tokenizer.model";
  std::string ranks;
  for (int byte = 0; byte < 256; ++byte) {
    ranks += Base64(std::string(1, static_cast<char>(byte))) + " " + std::to_string(byte) + "\n";
  }
  const auto read = [&](const std::string& text) {
    WriteFile(path, text);
    return ReadTokenizerFile(path, {"qwen2", 0});
  };
  CHECK(read(ranks + Base64("ab") + " 256\n").size() == 257);
  const std::pair<std::string, const char*> kCases[] = {
      {ranks + "!!!! 256\n", "line 257"},
      {ranks + "YWI=\n", "line 257"},
      {ranks + "YWI= x\n", "line 257"},
      {ranks + "YWI= 255\n", "has two tokens"},
      {ranks + "YWI= 99999999\n", "an id near"},
      {ranks + "YWI= -1\n", "an id near"},
      {ranks.substr(7), "byte 0"},
  };
  for (const auto& [text, message] : kCases) {
    CHECK_THROWS_WITH_AS(read(text), doctest::Contains(message), Error);
  }
  WriteFile(path, ranks);
  CHECK_THROWS_WITH_AS(ReadTokenizerFile(path, {"", 0}), doctest::Contains("--type"), Error);
  const std::string vocab = TempDir() + "/vocab.txt";
  WriteFile(vocab, "a\nb\n");
  CHECK_THROWS_WITH_AS(ReadTokenizerFile(vocab, {"bert", 0}), doctest::Contains("[UNK]"), Error);
  WriteFile(vocab, "[UNK]\na\na\n##b\n");
  const auto words = LoadTokenizer(ReadTokenizerFile(vocab, {"bert", 0}), vocab);
  CHECK(words->tokenizer->Encode("AB a\tc") == Ids{1, 3, 1, 0});
}

}  // namespace
}  // namespace glint
