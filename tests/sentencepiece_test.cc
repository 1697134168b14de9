#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/import/sentencepiece.h"

#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <random>

#include "lib/error.h"
#include "lib/text/piece_index.h"
#include "tests/spm_samples.h"
#include "tests/test_util.h"

namespace glint {
namespace {

using namespace std::string_literals;

const std::string kUnk = Piece("<unk>", 0, 2);
const std::string kSmall = kUnk + Piece("a", -1) + Piece("b", -2);
const std::string kTrainer = Field(2, Field(3, uint64_t{1}));

ImportedTokenizer Parse(const std::string& bytes, const std::string& rules = "plain") {
  return ParseSentencePiece({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                            {rules, 0}, "x.model");
}

std::string Specs(const std::string& trainer, const std::string& normalizer = "") {
  return Field(2, trainer) + Field(3, normalizer);
}

std::string BytePieces(unsigned begin, unsigned end) {
  static const char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned b = begin; b < end; ++b) {
    out += Piece("<0x"s + kHex[b / 16] + kHex[b % 16] + ">", 0, 6);
  }
  return out;
}

std::string Normalizer(const std::string& charsmap) {
  return Specs("", Field(2, charsmap));
}
std::string U32(uint32_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

struct Sample {
  const char* name;
  std::string bytes;
  const char* message;  // part of the error
};

const std::string kBytesOn = Specs(Field(35, uint64_t{1}));
const uint64_t kMinusTwo = static_cast<uint64_t>(int64_t{-2});

const Sample kRejected[] = {
    {"empty file", "", "found no pieces"},
    {"no pieces", kTrainer, "found no pieces"},
    {"HTML page", "<!DOCTYPE html><html>404</html>", "wire type"},
    {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n", "wire type"},
    {"zeros", std::string(100, '\0'), "field number"},
    {"field 0", kSmall + Varint(2) + Varint(0), "field number"},
    {"field number of 33 bits", kSmall + Varint(uint64_t{1} << 35 | 2) + Varint(0), "field number"},
    {"unterminated tag", kSmall + "\x80"s, "bytes (tag)"},
    {"unterminated varint", kSmall + "\x38\xFF\xFF"s, "bytes (number)"},
    {"11-byte varint", kSmall + "\x38"s + std::string(10, '\x80') + "\x01", "64 bits"},
    {"varint of 70 bits", kSmall + "\x38"s + std::string(9, '\xFF') + "\x7F", "64 bits"},
    {"11-byte tag", kSmall + std::string(10, '\x80') + "\x01", "64 bits"},
    {"length 2^64-1", kSmall + "\x0A"s + Varint(UINT64_MAX), "bytes (value)"},
    {"length 2^63", kSmall + "\x0A"s + Varint(uint64_t{1} << 63), "bytes (value)"},
    {"length 2^31-1", kSmall + "\x0A"s + Varint(INT32_MAX) + "abc", "bytes (value)"},
    {"length one too long", kSmall + "\x0A\x04"s + "abc", "bytes (value)"},
    {"inner length too long", kSmall + Field(1, "\x0A\x09z"), "bytes (value)"},
    {"no length", kSmall + "\x0A"s, "bytes (length)"},
    {"fixed32 cut", kSmall + "\x3D\x01\x02"s, "bytes (number)"},
    {"fixed64 cut", kSmall + "\x39\x01\x02"s, "bytes (number)"},
    {"wire type 6", kSmall + "\x3E\x01"s, "wire type 0, 1, 2 or 5, found 6"},
    {"wire type 7", kSmall + "\x3F\x01"s, "wire type 0, 1, 2 or 5, found 7"},
    {"open group", kSmall + "\x3B"s, "wire type 0, 1, 2 or 5, found 3"},
    {"end of no group", kSmall + "\x3C"s, "wire type 0, 1, 2 or 5, found 4"},
    {"50000 groups", kSmall + std::string(50000, '\x3B'), "wire type"},
    {"groups in a piece", kUnk + Field(1, std::string(50000, '\x3B')), "piece 1"},
    {"piece is a number", kSmall + Field(1, uint64_t{7}), "wire type 2, found 0"},
    {"text is a number", kUnk + Field(1, Field(1, uint64_t{7})), "wire type 2, found 0"},
    {"score is a number", kUnk + Field(1, Field(1, "a") + Field(2, uint64_t{7})), "wire type 5"},
    {"type is a text", kUnk + Field(1, Field(1, "a") + Field(3, "x")), "wire type 0"},
    {"type 0", kUnk + Piece("a", 0, 0), "type from 1 to 6, found 0"},
    {"type 7", kUnk + Piece("a", 0, 7), "type from 1 to 6, found 7"},
    {"type 2^32+1", kUnk + Piece("a", 0, (uint64_t{1} << 32) + 1), "32 bits"},
    {"no UNKNOWN", Piece("a", -1) + Piece("b", -2), "one piece of type unknown, found 0"},
    {"two UNKNOWN", kSmall + Piece("<unk2>", 0, 2), "one piece of type unknown, found 2"},
    {"duplicate piece", kSmall + Piece("a", -3), "piece 3: 'a' is there twice"},
    {"duplicate control", kSmall + Piece("<s>", 0, 3) + Piece("<s>", 0, 3), "is there twice"},
    {"duplicate of other types", kSmall + Piece("a", 0, 4), "is there twice"},
    {"empty piece", kSmall + Piece("", -1), "1 to 1024 bytes, found 0"},
    {"piece without text", kSmall + Field(1, Field(2, -1.0f)), "1 to 1024 bytes, found 0"},
    {"piece not UTF-8", kSmall + Piece("\xFF\xFE", -1), "UTF-8, found '\\xff\\xfe'"},
    {"piece of a surrogate", kSmall + Piece("\xED\xA0\x80", -1), "UTF-8"},
    {"piece overlong", kSmall + Piece("\xC0\x80", -1), "UTF-8"},
    {"piece cut", kSmall + Piece("\xE4\xBD", -1), "UTF-8"},
    {"piece of 200000 bytes", kSmall + Piece(std::string(200000, 'a'), -1), "found 200000"},
    {"score NaN", kSmall + Piece("c", std::numeric_limits<float>::quiet_NaN()), "finite score"},
    {"score infinity", kSmall + Piece("c", std::numeric_limits<float>::infinity()), "finite score"},
    {"score -infinity", kSmall + Piece("c", -std::numeric_limits<float>::infinity()), "finite"},
    {"byte piece without byte_fallback", kSmall + Piece("<0x41>", 0, 6), "without byte_fallback"},
    {"one byte piece", kSmall + Piece("<0x41>", 0, 6) + kBytesOn, "256 byte pieces, found 1"},
    {"255 byte pieces", kSmall + BytePieces(0, 255) + kBytesOn, "256 byte pieces, found 255"},
    {"no byte pieces", kSmall + kBytesOn, "256 byte pieces, found 0"},
    {"byte piece <0xZZ>", kSmall + Piece("<0xZZ>", 0, 6) + kBytesOn, "<0xNN>, found '<0xZZ>'"},
    {"byte piece <0x-1>", kSmall + Piece("<0x-1>", 0, 6) + kBytesOn, "<0xNN>, found '<0x-1>'"},
    {"byte piece <0xab>", kSmall + Piece("<0xab>", 0, 6) + kBytesOn, "<0xNN>, found '<0xab>'"},
    {"byte piece <0x100>", kSmall + Piece("<0x100>", 0, 6) + kBytesOn, "<0xNN>"},
    {"unk_id outside", kSmall + Specs(Field(40, uint64_t{3})), "unk_id: expected an id below 3"},
    {"unk_id -1", kSmall + Specs(Field(40, UINT64_MAX)), "unk_id"},
    {"bos_id outside", kSmall + Specs(Field(41, uint64_t{1} << 30)), "bos_id"},
    {"eos_id -2", kSmall + Specs(Field(42, kMinusTwo)), "eos_id"},
    {"pad_id of 33 bits", kSmall + Specs(Field(43, uint64_t{1} << 32)), "32 bits"},
    {"word model", kSmall + Specs(Field(3, uint64_t{3})),
     "model_type: expected unigram or bpe, found word"},
    {"model type 9", kSmall + Specs(Field(3, uint64_t{9})), "found 9"},
    {"model type -1", kSmall + Specs(Field(3, UINT64_MAX)), "found -1"},
    {"charsmap of 1 byte", kSmall + Normalizer("x"), "more than 4 bytes"},
    {"charsmap of 3 bytes", kSmall + Normalizer("xyz"), "more than 4 bytes"},
    {"charsmap of only a size", kSmall + Normalizer(U32(4)), "more than 4 bytes"},
    {"charsmap size 2^32-1", kSmall + Normalizer(U32(UINT32_MAX) + U32(0)), "found 4294967295"},
    {"charsmap size 7", kSmall + Normalizer(U32(7) + std::string(20, '\0')), "found 7 bytes"},
    {"charsmap size 0", kSmall + Normalizer(U32(0) + std::string(20, '\0')), "found 0 bytes"},
    {"charsmap size of all", kSmall + Normalizer(U32(8) + std::string(8, '\0')), "found 8 bytes"},
    {"charsmap root outside", kSmall + Normalizer(U32(8) + U32(1u << 29) + U32(0) + "\0"s),
     "root to point within"},
    {"charsmap root far outside", kSmall + Normalizer(U32(8) + U32(0x7FFFFFFF) + U32(0) + "\0"s),
     "root to point within"},
    {"charsmap root leaf", kSmall + Normalizer(U32(8) + U32(1u << 31 | 1 << 10) + U32(0) + "\0"s),
     "root to point within"},
    {"charsmap text without end", kSmall + Normalizer(U32(8) + U32(1 << 10) + U32(0) + "abc"),
     "ended by zero bytes"},
    {"charsmap text too long",
     kSmall + Normalizer(U32(8) + U32(1 << 10) + U32(0) + std::string(300, 'x') + "\0"s),
     "at most 255 bytes"},
    {"denormalizer", kSmall + Field(5, Field(2, "rules")), "not supported"},
    {"unk_surface not UTF-8", kSmall + Specs(Field(44, "\xFF")), "UTF-8"},
    {"trainer_spec is a number", kSmall + Field(2, uint64_t{1}), "wire type 2"},
};

TEST_CASE("damaged models are refused in one line") {
  for (const Sample& sample : kRejected) {
    CAPTURE(std::string(sample.name));
    std::string message;
    try {
      Parse(sample.bytes);
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.starts_with("x.model: "));
    CHECK(message.find(sample.message) != message.npos);
    CHECK(message.find('\n') == message.npos);
    CHECK(message.size() < 500);
  }
  MESSAGE(std::size(kRejected) << " damaged models");
}

TEST_CASE("unusual models are read") {
  const Sample kAccepted[] = {
      {"smallest", kUnk, ""},
      {"no specs", kSmall, ""},
      {"another vocab_size", kSmall + Specs(Field(4, uint64_t{9999})), ""},
      {"piece with NUL", kSmall + Piece("c\0d"s, -1), ""},
      {"unknown fields", kSmall + Field(200, "x") + Field(201, uint64_t{5}) + Field(202, 1.0f), ""},
      {"control named as a normal piece", kSmall + Piece("a", 0, 3), ""},
      {"two trainer_specs", kSmall + kTrainer + kTrainer, ""},
      {"empty charsmap", kSmall + Specs("", Field(2, "")), ""},
      {"no type", kUnk + Field(1, Field(1, "a") + Field(2, -1.0f)), ""},
      {"piece of 1024 bytes", kSmall + Piece(std::string(1024, 'a'), -1), ""},
      {"ids -1", kSmall + Specs(Field(41, UINT64_MAX) + Field(43, UINT64_MAX)), ""},
      {"10-byte varint", kSmall + Field(7, UINT64_MAX), ""},
      {"byte pieces", kSmall + BytePieces(0, 256) + kBytesOn, ""},
  };
  for (const Sample& sample : kAccepted) {
    CAPTURE(std::string(sample.name));
    const ImportedTokenizer model = Parse(sample.bytes);
    const auto tokenizer = Tokenizer::Create(model.options, model.Tables(), "x");
    CHECK(!tokenizer->Encode("abc").empty());
  }
}

TEST_CASE("ChatGLM's rules add the pieces that its first file lacks") {
  const ImportedTokenizer model = Parse(kSmall, "chatglm1");
  CHECK(model.size() == 3 + 8 + 80 + 256);
  CHECK(PieceOf(model.Tables(), 3) == "[MASK]");
  CHECK(PieceOf(model.Tables(), 11) == "<|tab|>");
  CHECK(PieceOf(model.Tables(), 90) == "<|blank_80|>");
  CHECK(PieceOf(model.Tables(), 346) == "<0xFF>");
  CHECK(model.options["gmask_id"] == 4);
  CHECK(model.options["byte_fallback"] == true);
  CHECK(Parse(kSmall + Piece("[gMASK]", 0, 3) + Piece("<sop>", 0, 3), "chatglm1").size() == 5);
}

TEST_CASE("a model cut anywhere is refused or read, and nothing else") {
  const std::string whole = ReadFile(DataDir() + "/tiny_spm.model");
  for (size_t size = 0; size < whole.size(); size += size < 1500 ? 1 : 37) {
    try {
      Parse(whole.substr(0, size));
    } catch (const Error& error) {
      CHECK(std::string(error.what()).starts_with("x.model: "));
    }
  }
}

TEST_CASE("a model with wrong bytes is refused or works") {
  const std::string whole = ReadFile(DataDir() + "/tiny_spm.model");
  std::mt19937 random(3);
  int read = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    for (size_t k = 1 + random() % 6; k > 0; --k) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    try {
      const ImportedTokenizer model = Parse(bytes, round % 2 ? "plain" : "chatglm1");
      const auto tokenizer = Tokenizer::Create(model.options, model.Tables(), "x");
      tokenizer->Decode(tokenizer->EncodeWithSpecial("hello 你好\n  Ａ e\u0301\xFF"));
      read++;
    } catch (const Error&) {
    }
  }
  MESSAGE(read << " of 3000 damaged models were readable");
}

TEST_CASE("files that are no model") {
  const std::string folder = TempDir();
  CHECK_THROWS_AS(ReadSentencePiece(folder), Error);
  CHECK_THROWS_AS(ReadSentencePiece(folder + "/missing.model"), Error);
  CHECK_THROWS_AS(ReadSentencePiece("/dev/zero"), Error);
  WriteFile(folder + "/lfs.model", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  CHECK_THROWS_AS(ReadSentencePiece(folder + "/lfs.model"), Error);
}

}  // namespace
}  // namespace glint
