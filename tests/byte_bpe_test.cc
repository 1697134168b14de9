#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <map>
#include <random>

#include "formats/import/bpe_tables.h"
#include "lib/error.h"
#include "lib/text/merges.h"
#include "lib/text/pre_tokenizer.h"
#include "lib/text/unicode.h"
#include "tests/tokenizer_samples.h"

namespace glint {
namespace {

using Json = nlohmann::json;
using Pair = std::pair<std::string, std::string>;

// Bytes as pieces 0 to 255, then what the merges make, each once.
struct Sample {
  Vocabulary vocabulary;
  std::vector<Pair> merges;
  ImportedTokenizer model;

  explicit Sample(std::vector<Pair> list) : merges(std::move(list)) {
    for (int byte = 0; byte < 256; ++byte) {
      vocabulary.Set(byte, std::string(1, static_cast<char>(byte)), PieceType::kNormal, "s");
    }
    std::map<std::string, bool> seen;
    int64_t id = 256;
    for (const auto& [left, right] : merges) {
      if (seen.emplace(left + right, true).second) {
        vocabulary.Set(id++, left + right, PieceType::kNormal, "s");
      }
    }
  }
  void Build() {
    std::vector<Merge> views(merges.begin(), merges.end());
    model.options = {{"algorithm", "byte_bpe"}, {"rules", "gpt2"}};
    SetMergedTables(vocabulary, views, true, "s", &model);
  }
};

// The definition, plainly: the pair of the lowest rank, the leftmost first, until there is none.
Ids MergeSlowly(std::string_view text, const std::map<Pair, int>& ranks,
                const std::unordered_map<std::string_view, int32_t>& ids) {
  std::vector<std::string> parts;
  for (const char c : text) parts.emplace_back(1, c);
  for (;;) {
    int best = INT32_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found == ranks.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == INT32_MAX) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  Ids out;
  for (const std::string& part : parts) out.push_back(ids.at(part));
  return out;
}

// Lists as training makes them, from what is there; of some rounds out of order, or of each piece
// all ways to make it of two, as lists that come from ranks alone have them.
std::vector<Pair> RandomMerges(unsigned n_letters, int order, std::mt19937* random) {
  std::vector<std::string> parts;
  for (unsigned i = 0; i < n_letters; ++i) parts.emplace_back(1, static_cast<char>('a' + i));
  std::vector<Pair> merges;
  for (unsigned n = (*random)() % 30; n > 0; --n) {
    const Pair merge = {parts[(*random)() % parts.size()], parts[(*random)() % parts.size()]};
    if (std::find(merges.begin(), merges.end(), merge) != merges.end()) continue;
    if (merge.first.size() + merge.second.size() > 40) continue;
    merges.push_back(merge);
    parts.push_back(merge.first + merge.second);
  }
  if (order == 1) std::shuffle(merges.begin(), merges.end(), *random);
  if (order != 2) return merges;
  std::shuffle(parts.begin(), parts.end(), *random);
  merges.clear();
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t cut = 1; cut < parts[i].size(); ++cut) {
      const Pair merge = {parts[i].substr(0, cut), parts[i].substr(cut)};
      const auto has = [&](const std::string& part) {
        return std::find(parts.begin(), parts.end(), part) != parts.end();
      };
      const bool seen = std::find(merges.begin(), merges.end(), merge) != merges.end();
      if (has(merge.first) && has(merge.second) && !seen) merges.push_back(merge);
    }
  }
  return merges;
}

TEST_CASE("random merges in any order give what the definition gives") {
  std::mt19937 random(3);
  size_t n_early = 0;
  for (int round = 0; round < 1200; ++round) {
    const unsigned n_letters = 1 + random() % 4;
    const std::vector<Pair> merges = RandomMerges(n_letters, round % 3, &random);
    Sample sample(merges);
    std::map<Pair, int> ranks;
    for (size_t i = 0; i < merges.size(); ++i) ranks.emplace(merges[i], static_cast<int>(i));
    sample.Build();
    const auto ids = sample.vocabulary.Ids();
    const TokenizerTables tables = sample.model.Tables();
    const MergeTables rows(tables.splits, tables.pairs);
    for (size_t id = 0; id < sample.model.size(); ++id) {
      const MergeTables::Split row = rows.Of(static_cast<int32_t>(id));
      n_early += row.turn >= 0 && rows.Rank(row.left, row.right) < row.turn;
    }
    const Merger merger(tables, PieceIndex(tables), "s");
    Merger::Scratch scratch;
    for (int k = 0; k < 40; ++k) {
      std::string text;
      for (unsigned n = 1 + random() % 24; n > 0; --n) {
        text += static_cast<char>('a' + random() % n_letters);
      }
      Ids out;
      merger.Append(text, false, &scratch, &out);
      CAPTURE(text);
      REQUIRE(out == MergeSlowly(text, ranks, ids));
    }
  }
  CHECK(n_early > 1000);  // pieces made before the rank of their parts
}

TEST_CASE("a rank below those of its parts takes place in the turn of the last of them") {
  Sample sample(std::vector<Pair>{Pair("a", "c"), Pair("a", "b")});
  sample.merges[0] = Pair("ax", "c");
  CHECK_THROWS_WITH_AS(sample.Build(), "s: merge 0: 'ax' is not in the vocabulary", Error);
  Sample late(std::vector<Pair>{Pair("a", "b"), Pair("c", "d"), Pair("d", "e")});
  late.merges = {{"a", "b"}, {"ab", "cd"}, {"c", "d"}, {"d", "e"}};
  late.vocabulary.Set(259, "abcd", PieceType::kNormal, "s");
  late.Build();
  const auto loaded = LoadTokenizer(late.model, "s");
  CHECK(loaded->tokenizer->Encode("abcdcdabcde") == Ids{259, 257, 259, 'e'});
}

TEST_CASE("the vocabularies of GPT-2 and Qwen2 give what the definition gives") {
  if (SkipWithoutReference("merges of GPT-2 and Qwen2")) return;
  for (const char* name : {"gpt2", "qwen2"}) {
    const auto model = ReadFolderTokenizer(TokenizerDir(name), {name, 0});
    REQUIRE(model);
    const TokenizerTables tables = model->Tables();
    const Merger merger(tables, PieceIndex(tables), name);
    std::map<Pair, int> ranks;
    std::unordered_map<std::string_view, int32_t> ids;
    for (size_t id = 0; id < model->size(); ++id) {
      if (model->splits[4 * id + 2] == MergeTables::kInitial) {
        ids.emplace(PieceOf(tables, id), static_cast<int32_t>(id));
      }
    }
    std::ifstream in(TokenizerDir(name) + "merges.txt");
    std::string line, left, right;
    std::map<std::string, int32_t> by_text;
    for (size_t id = 0; id < model->size(); ++id) {
      by_text.emplace(PieceOf(tables, id), static_cast<int32_t>(id));
    }
    while (std::getline(in, line)) {
      const size_t space = line.find(' ');
      if (line.starts_with("#version") || space == line.npos) continue;
      REQUIRE(FromByteText(std::string_view(line).substr(0, space), &left));
      REQUIRE(FromByteText(std::string_view(line).substr(space + 1), &right));
      ranks.emplace(Pair(left, right), static_cast<int>(ranks.size()));
    }
    for (const auto& [text, id] : by_text) ids.emplace(text, id);
    const std::string texts[] = {ReadFile(ReferenceDir() + "/corpora/tinyshakespeare.txt"),
                                 ReadFile(ReferenceDir() + "/corpora/lunyu.txt")};
    std::mt19937 random(17);
    Merger::Scratch scratch;
    for (int round = 0; round < 400; ++round) {
      // Also across words and within characters: merges know neither.
      const std::string& text = texts[round % 2];
      std::string part = text.substr(random() % (text.size() - 40), 1 + random() % 40);
      if (round % 5 == 0) {
        for (char& c : part) c = static_cast<char>(random() % 255);  // no byte 0xFF: no UTF-8
      }
      Ids out;
      merger.Append(part, false, &scratch, &out);
      REQUIRE(out == MergeSlowly(part, ranks, ids));
    }
  }
}

TEST_CASE("a text of one word takes linear work") {
  Sample sample({{"a", "a"}, {"aa", "aa"}, {"aaaa", "a"}, {"b", "a"}, {"a", "b"}, {"ab", "ab"}});
  sample.Build();
  const TokenizerTables tables = sample.model.Tables();
  const Merger merger(tables, PieceIndex(tables), "s");
  for (const char* part : {"a", "ab", "aab", "b", "aaab", "\xE4", "x"}) {
    std::string text;
    while (text.size() < 1000000) text += part;
    Merger::Scratch scratch;
    Ids out;
    merger.Append(text, false, &scratch, &out);
    size_t bytes = 0;
    for (const int32_t id : out) bytes += PieceOf(tables, static_cast<size_t>(id)).size();
    CHECK(bytes == text.size());
    CHECK(scratch.steps < 8 * text.size());
  }
  if (SkipWithoutReference("linear work with Qwen2's merges")) return;
  const auto model = ReadFolderTokenizer(TokenizerDir("qwen2"), {"qwen2", 0});
  const TokenizerTables real = model->Tables();
  const Merger qwen(real, PieceIndex(real), "qwen2");
  for (const char* part :
       {"a", "ab", " ", "\n", "!", "=", "\u4f60", "\u54c8\u54c8\u4f60", "\xF0"}) {
    std::string text;
    while (text.size() < 1000000) text += part;
    Merger::Scratch scratch;
    Ids out;
    qwen.Append(text, false, &scratch, &out);
    CHECK(scratch.steps < 8 * text.size());
  }
}

std::vector<std::string> Words(const char* name, std::string_view text) {
  const PreTokenizer& words = FindPreTokenizer(name, "test");
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t bytes = words.first_word(text);
    REQUIRE((bytes > 0 && bytes <= text.size()));
    out.emplace_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return out;
}

TEST_CASE("pre-tokenizers: words of the published patterns") {
  using Strings = std::vector<std::string>;
  constexpr auto kGpt2 = "gpt2";
  CHECK(Words(kGpt2, "It's  10000 don'T  \n x") ==
        Strings{"It", "'s", " ", " 10000", " don", "'", "T", "  \n", " x"});
  CHECK(Words(kGpt2, "a\t\tb  ") == Strings{"a", "\t", "\t", "b", "  "});
  CHECK(Words(kGpt2, "!?\u4f60\u597d\u0301x") == Strings{"!?", "\u4f60\u597d", "\u0301", "x"});
  for (const char* name : {"llama3", "glm4"}) {
    CHECK(Words(name, "It'S 12345\r\n\r\n  (x) ok!\n\n y\u00A0z") ==
          Strings{"It", "'S", " ", "123", "45", "\r\n\r\n", " ", " (", "x", ")", " ok", "!\n\n",
                  " y", "\u00A0z"});
  }
  CHECK(Words("qwen2", "12 \n \n  a'\u017Fb") ==
        Strings{"1", "2", " \n \n", " ", " a", "'\u017F", "b"});
  CHECK(Words("llama3", "\n'lla 'Re'vE") == Strings{"\n", "'ll", "a", " '", "Re", "'vE"});
  CHECK_THROWS_WITH_AS(
      FindPreTokenizer("gpt5", "m"),
      "m: expected a known pre-tokenizer (gpt2, llama3, qwen2, glm4), found 'gpt5'", Error);
  CHECK(FindPattern("\\p{L}+") == nullptr);
}

TEST_CASE("NFC and what is no UTF-8") {
  const auto nfc = [](std::string_view text) {
    std::string out;
    AppendNfc(text, &out);
    return out;
  };
  CHECK(nfc("e\u0301 \u00e9 \u4f60") == "\u00e9 \u00e9 \u4f60");
  CHECK(nfc("\u1100\u1161\u11a8") == "\uac01");
  CHECK(nfc("q\u0307\u0323") == "q\u0323\u0307");  // marks in order of their classes
  std::string marks = "a";
  for (int i = 0; i < 100000; ++i) marks += "\u0301\u0323";
  CHECK(nfc(marks).starts_with("\u1EA1\u0323"));  // sorted, not by neighbours' swaps
  const auto valid = [](std::string_view text) {
    std::string out;
    AppendValid(text, &out);
    return out;
  };
  // One U+FFFD for each longest beginning of a character (the Unicode standard, table 3-8).
  CHECK(valid("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64") ==
        "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  CHECK(valid("\xED\xA0\x80|\xF4\x90\x80\x80|\xC0\xAF") ==
        "\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD");
}

TEST_CASE("bytes become text when they are certain") {
  Sample sample(std::vector<Pair>{Pair("a", "b")});
  sample.Build();
  const auto loaded = LoadTokenizer(sample.model, "s");
  const Tokenizer& t = *loaded->tokenizer;
  const auto bytes = [](std::string_view text) {
    Ids ids;
    for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  };
  Detokenizer stream(t);
  CHECK(stream.Add(0xF0) == "");
  CHECK(stream.Add(0x9F) == "");
  CHECK(stream.Add(0x98) == "");
  CHECK(stream.Add(0x80) == "\U0001F600");
  CHECK(stream.Add(0xE4) == "");
  CHECK(stream.Add('x') == "\uFFFDx");
  CHECK(stream.Add(0xE4) == "");
  CHECK(stream.Add(0xBD) == "");
  CHECK(stream.Finish() == "\uFFFD");
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (unsigned n = random() % 12; n > 0; --n) text += static_cast<char>(random());
    const Ids ids = bytes(text);
    std::string valid;
    AppendValid(text, &valid);
    REQUIRE(t.Decode(ids) == valid);
    REQUIRE(StreamedText(t, ids) == valid);
  }
  CHECK(t.Decode(Ids{-1, 'a', 99999, 'b', INT32_MAX}) == "ab");
}

TEST_CASE("damaged tables give other ids, never a crash or a hang") {
  Sample sample({{"a", "a"}, {"aa", "aa"}, {"a", "b"}, {"aa", "b"}, {" ", "a"}, {" a", "a"}});
  sample.Build();
  std::mt19937 random(5);
  const std::string text = "aaab aaaaab ba \u4f60" + std::string(2000, 'a');
  for (int round = 0; round < 1500; ++round) {
    ImportedTokenizer model = sample.model;
    for (std::vector<int32_t>* table : {&model.splits, &model.pairs, &model.index}) {
      const int32_t n = static_cast<int32_t>(table->size());
      for (int k = 0; k < 6; ++k) {
        const int32_t kValues[] = {static_cast<int32_t>(random()),
                                   static_cast<int32_t>(random() % 262),
                                   ~static_cast<int32_t>(random() % static_cast<uint32_t>(n)),
                                   INT32_MAX,
                                   INT32_MIN,
                                   -1,
                                   -2,
                                   0};
        (*table)[random() % table->size()] = kValues[random() % std::size(kValues)];
      }
    }
    const auto t = Tokenizer::Create(model.options, model.Tables(), "m");
    const Ids ids = t->Encode(text);
    for (const int32_t id : ids) REQUIRE((id >= 0 && id < static_cast<int32_t>(t->size())));
    t->Decode(ids);
  }
}

TEST_CASE("tables of the wrong size are refused") {
  Sample sample(std::vector<Pair>{Pair("a", "b")});
  sample.Build();
  const std::pair<const char*, void (*)(ImportedTokenizer*)> kDamages[] = {
      {"splits", [](ImportedTokenizer* m) { m->splits.pop_back(); }},
      {"pairs", [](ImportedTokenizer* m) { m->pairs.pop_back(); }},
      {"no pairs", [](ImportedTokenizer* m) { m->pairs.clear(); }},
      {"pairs no power of 2", [](ImportedTokenizer* m) { m->pairs.resize(9); }},
      {"types", [](ImportedTokenizer* m) { m->types.pop_back(); }},
      {"type 0", [](ImportedTokenizer* m) { m->types[3] = 0; }},
      {"ends fall", [](ImportedTokenizer* m) { m->piece_ends[9] = 1; }},
      {"bytes", [](ImportedTokenizer* m) { m->piece_bytes.push_back('x'); }},
      {"odd added", [](ImportedTokenizer* m) { m->added = {3}; }},
      {"added out of range",
       [](ImportedTokenizer* m) {
         m->added = {9999, 0};
       }},
      {"unknown flags",
       [](ImportedTokenizer* m) {
         m->added = {97, 64};
       }},
      {"prefix", [](ImportedTokenizer* m) { m->options["prefix_ids"] = {9999}; }},
      {"an option of others", [](ImportedTokenizer* m) { m->options["byte_fallback"] = true; }},
      {"rules", [](ImportedTokenizer* m) { m->options["rules"] = "plain"; }},
  };
  for (const auto& [name, damage] : kDamages) {
    CAPTURE(std::string(name));
    ImportedTokenizer model = sample.model;
    damage(&model);
    CHECK_THROWS_AS(Tokenizer::Create(model.options, model.Tables(), "m"), Error);
  }
}

TEST_CASE("added tokens: leftmost, longest, with their flags") {
  Sample sample(std::vector<Pair>{Pair("a", "b")});
  const std::vector<AddedEntry> tokens = {{257, "<x>", true, 0},
                                          {258, "<x><y>", false, 0},
                                          {259, "<l>", true, 1},
                                          {260, "<r>", true, 2},
                                          {261, "e\u0301<n>", false, 4}};
  AddTokens(tokens, &sample.vocabulary, "s");
  sample.Build();
  sample.model.options["nfc"] = true;
  SetAddedTable(tokens, &sample.model);
  const auto loaded = LoadTokenizer(sample.model, "s");
  const Tokenizer& t = *loaded->tokenizer;
  CHECK(t.Encode("ab<x>ab") == Ids{256, 257, 256});
  CHECK(t.Encode("<x><y>a<x><x>") == Ids{258, 'a', 257, 257});
  CHECK(t.Encode("a \n<l> b") == Ids{'a', 259, ' ', 'b'});
  CHECK(t.Encode("a <r> \u3000b") == Ids{'a', ' ', 260, 'b'});
  CHECK(t.Encode("\u00e9<n>") == Ids{261});
  CHECK(t.EncodePlain("<x>") == Ids{'<', 'x', '>'});
  CHECK(t.Decode(Ids{'a', 257, 258, 0xE4, 257, 0xBD, 0xA0}) == "a<x><y>\u4f60");
  CHECK(t.Decode(Ids{0xE4, 258}) == "\uFFFD<x><y>");
  CHECK(t.FindToken("<x>") == 257);
  CHECK(t.FindToken("ab") == 256);
  CHECK(t.FindToken("none") == -1);
}

}  // namespace
}  // namespace glint
