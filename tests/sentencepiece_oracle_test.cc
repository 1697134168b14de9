// Our Unigram and BPE tokenizers against libsentencepiece itself: the same ids for every text, the
// same text for any ids. Built only where the library is.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "formats/import/sentencepiece.h"
#include "lib/text/piece_index.h"
#include "lib/text/utf8.h"
#include "tests/spm_samples.h"
#include "tests/test_util.h"

namespace glint {
namespace {

using Ids = std::vector<int32_t>;

struct Pair {
  std::string path;
  std::unique_ptr<LoadedTokenizer> ours;
  sentencepiece::SentencePieceProcessor theirs;

  explicit Pair(const std::string& model) : path(model), ours(LoadSentencePiece(model)) {
    REQUIRE(theirs.Load(model).ok());
    REQUIRE(static_cast<size_t>(theirs.GetPieceSize()) == ours->model.size());
  }

  void CheckText(const std::string& text) const {
    Ids expected;
    REQUIRE(theirs.Encode(text, &expected).ok());
    const Ids ids = ours->tokenizer->Encode(text);
    if (ids == expected) return;
    CAPTURE(path);
    CAPTURE(text);
    CHECK(ids == expected);
  }

  void CheckIds(const Ids& ids) const {
    std::string expected;
    REQUIRE(theirs.Decode(ids, &expected).ok());
    const std::string text = ours->tokenizer->Decode(ids);
    if (text == expected) return;
    CAPTURE(path);
    CAPTURE(ids.size());
    CHECK(text == expected);
  }
};

std::vector<std::string> SmallModels() {
  std::vector<std::string> paths = {DataDir() + "/tiny_spm.model", TinyVocabulary()};
  if (!ReferenceDir().empty()) {
    paths.push_back(ReferenceDir() + "/tokenizers/sentencepiece/test_model.model");
    paths.push_back(ReferenceDir() + "/tokenizers/sentencepiece/test_ja_model.model");
    paths.push_back(ReferenceDir() + "/tokenizers/chatglm1/ice_text.model");
    paths.push_back(ReferenceDir() + "/tokenizers/chatglm2/tokenizer.model");
    paths.push_back(ReferenceDir() + "/tokenizers/llama2/tokenizer.model");
  }
  return paths;
}

TEST_CASE("the corpora, line by line and whole") {
  if (SkipWithoutReference("sentencepiece on the corpora")) return;
  size_t lines = 0;
  for (const std::string& path : SmallModels()) {
    const Pair pair(path);
    // The library takes its time for BPE.
    const size_t step = path.ends_with("tokenizer.model") ? 4 : 1;
    for (const char* name : {"botchan", "lunyu", "shijing", "tinyshakespeare",
                             "tinystories-valid-sample", "wikitext-2-test"}) {
      const std::string file = ReferenceDir() + "/corpora/" + name + ".txt";
      std::ifstream in(file);
      for (std::string line; std::getline(in, line); ++lines) {
        if (lines % step == 0) pair.CheckText(line);
      }
      // As one text too: sums of thousands of scores, rounded as theirs are.
      pair.CheckText(ReadFile(file).substr(0, 300000));
    }
  }
  MESSAGE(lines << " lines of text");
}

// Strings of what is likely to go wrong: pieces, spaces of all kinds, combining marks, tags, bytes.
std::string RandomText(const Pair& pair, std::mt19937* random) {
  const std::string kParts[] = {" ",
                                "  ",
                                "\t",
                                "\n",
                                "\u3000",
                                "\u00a0",
                                "\u2581",
                                "a",
                                "Z",
                                "0",
                                "\u0301",
                                "e\u0301",
                                "\u1100\u1161\u11a8",
                                "\uFDFA",
                                "\uFF21",
                                "\u2460",
                                "<n>",
                                "<",
                                "<|blank_2|>",
                                "<|tab|>",
                                "[MASK]",
                                "<s>",
                                "<unk>",
                                "<0x41>",
                                "\u200b",
                                "\u200d",
                                "\U0001F468\u200d\U0001F469",
                                "\u4f60\u597d",
                                "\uFFFD",
                                "\uFEFF",
                                "\x7f",
                                "\x01",
                                std::string(1, '\0'),
                                "a b"};
  const TokenizerTables tables = pair.ours->model.Tables();
  std::string text;
  for (size_t n = (*random)() % 24; n > 0; --n) {
    const uint32_t kind = (*random)() % 8;
    if (kind < 3) {
      text += PieceOf(tables, (*random)() % pair.ours->model.size());
    } else if (kind < 6) {
      text += kParts[(*random)() % std::size(kParts)];
    } else if (kind == 6) {
      text += static_cast<char>((*random)());
    } else {
      text += std::string((*random)() % 30, static_cast<char>('a' + (*random)() % 3));
    }
  }
  return text;
}

// The fixture with each setting of the normalizer the other way round. A message that comes twice
// in a protobuf file is merged, so the settings can be appended.
std::vector<std::string> Variants() {
  const std::string fixture = ReadFile(DataDir() + "/tiny_spm.model");
  const std::string folder = TempDir();
  std::vector<std::string> paths;
  for (uint64_t bits = 0; bits < 16; ++bits) {
    const std::string trainer = Field(24, bits & 1);  // treat_whitespace_as_suffix
    const std::string normalizer =
        Field(3, bits >> 1 & 1) + Field(4, bits >> 2 & 1) + Field(5, bits >> 3 & 1);
    paths.push_back(folder + "/" + std::to_string(bits) + ".model");
    WriteFile(paths.back(), fixture + Field(2, trainer) + Field(3, normalizer));
  }
  return paths;
}

TEST_CASE("every setting of the normalizer") {
  for (const std::string& path : Variants()) {
    const Pair pair(path);
    std::mt19937 random(23);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = RandomText(pair, &random);
      pair.CheckText(text);
      Ids ids = pair.ours->tokenizer->Encode(text);
      if (i % 2) std::shuffle(ids.begin(), ids.end(), random);
      pair.CheckIds(ids);
    }
  }
}

// A BPE model of a few letters, in which all that decides happens often: equal scores, pieces of
// every type that overlap, unused ones on the way, runs; with or without byte pieces.
std::string RandomBpeModel(std::mt19937* random) {
  const auto chance = [&](uint32_t of) { return (*random)() % of == 0; };
  const std::string kLetters[] = {"a", "b", "c", "\u2581", "\u4f60", "\u00e9"};
  // The unknown piece's name may come about in text.
  const char* unknown = chance(4) ? "ab" : "<unk>";
  std::string bytes = Piece(unknown, 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3);
  std::set<std::string> seen;
  std::vector<std::string> pieces;
  for (const std::string& letter : kLetters) {
    if (!chance(6)) pieces.push_back(letter);
  }
  const uint32_t n_merged = 4 + (*random)() % 30;
  for (uint32_t i = 0; i < n_merged && !pieces.empty(); ++i) {
    const auto any = [&] { return pieces[(*random)() % pieces.size()]; };
    const std::string piece = any() + (chance(5) ? kLetters[(*random)() % 6] : any());
    if (piece.size() < 40) pieces.push_back(piece);
  }
  const bool has_unused = chance(2), has_defined = chance(2);
  for (const std::string& piece : pieces) {
    if (!seen.insert(piece).second) continue;
    const float score = -static_cast<float>((*random)() % 8);
    uint64_t type = 1;
    if (has_unused && chance(2)) type = 5;
    if (has_defined && chance(6)) type = 4;
    bytes += Piece(piece, score, type);
  }
  const bool byte_fallback = chance(2);
  for (unsigned byte = 0; byte_fallback && byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    bytes += Piece(name, 0, 6);
  }
  return bytes + Field(2, Field(3, uint64_t{2}) + Field(35, uint64_t{byte_fallback})) +
         Field(3, Field(3, uint64_t{chance(2)}) + Field(4, uint64_t{chance(3)}) +
                      Field(5, uint64_t{!chance(4)}));
}

TEST_CASE("random BPE models, random texts and ids") {
  const std::string path = TempDir() + "/bpe.model";
  const std::string kParts[] = {"a",  "b",  "c",      "a",      "b",      "aaaa", " ",
                                "  ", "\n", "\u4f60", "\u00e9", "\u2581", "Z",    "\xFF"};
  std::mt19937 random(31);
  for (int model = 0; model < 120; ++model) {
    WriteFile(path, RandomBpeModel(&random));
    const Pair pair(path);
    for (int i = 0; i < 40; ++i) {
      std::string text;
      // Long ones too: their pairs are kept otherwise.
      size_t n = i < 2 ? 2000 + random() % 2000 : random() % 40;
      for (; n > 0; --n) text += kParts[random() % std::size(kParts)];
      pair.CheckText(text);
      Ids ids = pair.ours->tokenizer->Encode(text);
      if (i % 2) std::shuffle(ids.begin(), ids.end(), random);
      pair.CheckIds(ids);
    }
  }
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string BlankTag(size_t n) {
  return "<|blank_" + std::to_string(n) + "|>";
}

// ChatGLM's rules as the published code has them, one replacement after another, over
// libsentencepiece.
Ids PublishedEncode(const Pair& pair, const std::string& text) {
  static const std::vector<std::string> kSpecials = {"[MASK]", "<sop>", "<eop>", "<unk>", "<pad>"};
  Ids ids;
  std::string_view rest = text;
  bool after = false;
  for (;;) {
    size_t at = rest.npos;
    const std::string* special = nullptr;
    for (const std::string& name : kSpecials) {
      if (rest.find(name) < at) {
        at = rest.find(name);
        special = &name;
      }
    }
    std::string_view stretch = rest.substr(0, at);
    if (after) stretch = StripLeft(stretch);
    if (special) stretch = StripRight(stretch);
    std::string tagged = Replaced(Replaced(std::string(stretch), "\n", "<n>"), "\t", "<|tab|>");
    for (size_t n = 80; n > 1; --n) tagged = Replaced(tagged, std::string(n, ' '), BlankTag(n));
    Ids part;
    REQUIRE(pair.theirs.Encode(tagged, &part).ok());
    ids.insert(ids.end(), part.begin(), part.end());
    if (!special) return ids;
    ids.push_back(pair.theirs.PieceToId(*special));
    rest.remove_prefix(at + special->size());
    after = true;
  }
}

std::string PublishedDecode(const Pair& pair, Ids ids) {
  std::erase(ids, pair.theirs.PieceToId("<pad>"));
  std::string text;
  REQUIRE(pair.theirs.Decode(ids, &text).ok());
  text = Replaced(Replaced(text, "<n>", "\n"), "<|tab|>", "\t");
  for (size_t n = 2; n <= 80; ++n) text = Replaced(text, BlankTag(n), std::string(n, ' '));
  return text;
}

TEST_CASE("ChatGLM's rules, random texts and ids") {
  std::vector<std::string> paths = {TinyVocabulary()};
  if (!ReferenceDir().empty()) {
    paths.push_back(ReferenceDir() + "/tokenizers/chatglm1/ice_text.model");
  }
  for (const std::string& path : paths) {
    const Pair pair(path);
    const auto ours = LoadSentencePiece(path, {"chatglm1", 0});
    std::mt19937 random(29);
    for (int i = 0; i < 20000; ++i) {
      std::string text = RandomText(pair, &random);
      for (const char* part : {"[MASK]", "<unk>", "<pad>", "<sop>", "\u3000", " \n", "<|blank_"}) {
        if (random() % 6 == 0) text.insert(random() % (text.size() + 1), part);
      }
      if (random() % 4 == 0) text.insert(random() % (text.size() + 1), random() % 200, ' ');
      CAPTURE(text);
      Ids ids = ours->tokenizer->Encode(text);
      REQUIRE(ids == PublishedEncode(pair, text));
      REQUIRE(ours->tokenizer->Decode(ids) == PublishedDecode(pair, ids));
      std::shuffle(ids.begin(), ids.end(), random);
      REQUIRE(ours->tokenizer->Decode(ids) == PublishedDecode(pair, ids));
    }
  }
}

TEST_CASE("random texts") {
  size_t texts = 0;
  for (const std::string& path : SmallModels()) {
    const Pair pair(path);
    std::mt19937 random(17);
    for (int i = 0; i < 20000; ++i, ++texts) pair.CheckText(RandomText(pair, &random));
  }
  MESSAGE(texts << " random texts");
}

TEST_CASE("random ids") {
  size_t lists = 0;
  for (const std::string& path : SmallModels()) {
    const Pair pair(path);
    std::mt19937 random(19);
    const int32_t n = pair.theirs.GetPieceSize();
    const bool has_bytes = pair.theirs.PieceToId("<0x00>") != pair.theirs.unk_id();
    const int32_t byte0 = has_bytes ? pair.theirs.PieceToId("<0x00>") : n - 256;
    const std::string bytes = "\U0001F600\u4f60\u00e9\xF0\x9F\xE4\xFF";
    for (int i = 0; i < 20000; ++i, ++lists) {
      Ids ids;
      for (size_t k = random() % 10; k > 0; --k) {
        const uint32_t kind = random() % 4;
        if (kind == 0) ids.push_back(static_cast<int32_t>(random() % 8));
        if (kind == 1) ids.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(n)));
        if (kind > 1) {
          const size_t begin = random() % bytes.size();
          for (size_t b = begin; b < std::min(bytes.size(), begin + random() % 5); ++b) {
            ids.push_back(byte0 + static_cast<uint8_t>(bytes[b]));
          }
        }
      }
      for (int32_t& id : ids) id = std::max(id, 0);
      pair.CheckIds(ids);
    }
  }
  MESSAGE(lists << " random lists of ids");
}

}  // namespace
}  // namespace glint
