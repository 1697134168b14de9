#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/import/gguf.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/gguf_files.h"
#include "tests/test_util.h"

// Reading GGUF files. The decoding of each tensor type: gguf_types_test.cc.
namespace glint {
namespace {

using namespace test;
using nlohmann::json;

std::string Written(const std::string& name, const std::string& contents) {
  static const std::string folder = TempDir();
  // A new file: file systems flush one that is truncated and written again, which takes 5 ms.
  std::filesystem::remove(folder + "/" + name);
  WriteFile(folder + "/" + name, contents);
  return folder + "/" + name;
}

std::string ErrorOf(const auto& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string GgufError(const std::string& path) {
  return ErrorOf([&] { Gguf::Open(path); });
}

bool Holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Two tensors: w, f32 (2, 3), and q, Q8_0 (1, 32).
GgufParts Small() {
  GgufParts parts;
  parts.pairs = {GgufText("general.architecture", "llama"), GgufU32("llama.block_count", 2)};
  parts.tensors = {GgufEntry("w", {3, 2}, 0, 0), GgufEntry("q", {32, 1}, 8, 32)};
  parts.data = Floats({1, 2, 3, 4, 5, 6}) + std::string(8, '\0') + U16(0x3C00);
  for (int i = 0; i < 32; ++i) parts.data += static_cast<char>(i - 16);
  return parts;
}

TEST_CASE("metadata of every type") {
  GgufParts parts;
  parts.pairs = {
      GgufPairOf("u8", 0, "\xFF"),
      GgufPairOf("i8", 1, "\xFF"),
      GgufPairOf("u16", 2, U16(65535)),
      GgufPairOf("i16", 3, U16(65535)),
      GgufPairOf("u32", 4, U32(0xFFFFFFFF)),
      GgufPairOf("i32", 5, U32(0xFFFFFFFF)),
      GgufPairOf("f32", 6, Bytes(0.1f)),
      GgufPairOf("bool", 7, "\1"),
      GgufText("text", "a\xFF\0b"s),
      GgufPairOf("u64", 10, U64(~uint64_t{0})),
      GgufPairOf("i64", 11, U64(~uint64_t{0})),
      GgufPairOf("f64", 12, Bytes(-1e300)),
      GgufPairOf("list", 9, GgufArray(5, 3, U32(1) + U32(2) + U32(0xFFFFFFFE))),
      GgufPairOf("texts", 9, GgufArray(8, 3, GgufString("a") + GgufString("") + GgufString("bc"))),
      GgufPairOf("none", 9, GgufArray(6, 0, ""))};
  const auto gguf = Gguf::Open(Written("types.gguf", GgufBytes(parts)));
  const GgufMetadata& m = gguf->metadata();
  REQUIRE(m.pairs().size() == 15);
  CHECK(m.Find("u8")->Item() == 255);
  CHECK(m.Find("i8")->Item() == -1);
  CHECK(m.Find("u16")->Item() == 65535);
  CHECK(m.Find("i16")->Item() == -1);
  CHECK(m.Find("u32")->Item() == 0xFFFFFFFF);
  CHECK(m.Find("i32")->Item() == -1);
  CHECK(m.Find("f32")->Item().get<float>() == 0.1f);
  CHECK(m.Find("bool")->Item() == true);
  CHECK(m.String("text") == "a\xFF\0b"s);
  CHECK(m.Find("u64")->Item() == ~uint64_t{0});
  CHECK(m.Find("i64")->Item() == -1);
  CHECK(m.Number("f64") == -1e300);
  CHECK(m.Array("list", GgufType::kI32).Item(2) == -2);
  const GgufValue& texts = m.Array("texts", GgufType::kString);
  CHECK(texts.String(0) == "a");
  CHECK(texts.String(1) == "");
  CHECK(texts.String(2) == "bc");
  CHECK(m.Array("none", GgufType::kF32).count == 0);
  CHECK(m.Find("absent") == nullptr);
  CHECK(m.Uint("u64", 0, ~uint64_t{0}) == ~uint64_t{0});
  CHECK(gguf->tensors().empty());

  const auto fails = [&](const auto& run, const std::string& words) {
    const std::string error = ErrorOf(run);
    CAPTURE(error);
    CHECK(IsPlainMessage(error, gguf->path()));
    CHECK(Holds(error, words));
  };
  fails([&] { m.Uint("i8", 0, 9); }, "key 'i8': expected an integer from 0 to 9, got -1");
  fails([&] { m.Uint("u8", 0, 9); }, "got 255");
  fails([&] { m.Uint("f32", 0, 9); }, "got float32");
  fails([&] { m.Uint("absent", 0, 9); }, "key 'absent': expected an integer");
  fails([&] { m.Number("text"); }, "expected a number, got string");
  fails([&] { m.Number("bool"); }, "expected a number, got bool");
  fails([&] { m.String("texts"); }, "expected a string, got array of 3 strings");
  fails([&] { m.Array("list", GgufType::kString); }, "array of strings, got array of 3 int32s");
}

TEST_CASE("tensors of versions 2 and 3, and another alignment") {
  for (const uint32_t version : {2u, 3u}) {
    GgufParts parts = Small();
    parts.version = version;
    if (version == 2) {
      parts.pairs.push_back(GgufU32("general.alignment", 8));
      parts.alignment = 8;
      parts.tensors[1] = GgufEntry("q", {32, 1}, 8, 24);
      parts.data.erase(24, 8);
    }
    const auto gguf = Gguf::Open(Written("small.gguf", GgufBytes(parts)));
    CHECK(gguf->version() == version);
    REQUIRE(gguf->tensors().size() == 2);
    CHECK(gguf->tensors()[0].name == "q");
    const GgufTensor* w = gguf->Find("w");
    REQUIRE(w != nullptr);
    CHECK(gguf->Find("x") == nullptr);
    CHECK(w->shape == std::vector<uint64_t>{2, 3});
    CHECK(w->bytes == 24);
    float values[32];
    gguf->ReadF32(*w, 2, 3, values);
    CHECK((values[0] == 3 && values[1] == 4 && values[2] == 5));
    const GgufTensor& q = gguf->tensors()[0];
    gguf->ReadF32(q, 0, 32, values);
    for (int i = 0; i < 32; ++i) CHECK(values[i] == i - 16);
    gguf->ReadF32(q, 32, 0, values);
    CHECK(Holds(ErrorOf([&] { gguf->ReadF32(q, 1, 31, values); }), "'q': expected whole blocks"));
    CHECK(Holds(ErrorOf([&] { gguf->ReadF32(q, 0, 64, values); }), "within its 32 elements"));
    CHECK(Holds(ErrorOf([&] { gguf->ReadF32(*w, ~uint64_t{0}, 1, values); }), "within its 6"));
  }
}

TEST_CASE("a type without a decoder is listed, and refused by name when read") {
  GgufParts parts;
  parts.tensors = {GgufEntry("w", {256}, 16, 0)};
  parts.data = std::string(66, '\1');
  const auto gguf = Gguf::Open(Written("iq2.gguf", GgufBytes(parts)));
  CHECK(gguf->tensors()[0].bytes == 66);
  std::vector<float> out(256);
  const std::string error = ErrorOf([&] { gguf->ReadF32(gguf->tensors()[0], 0, 256, out.data()); });
  CHECK(Holds(error, "tensor 'w': the type IQ2_XXS is not supported"));
}

// --- Split files. ---

std::string Part(uint16_t part, uint16_t parts, const std::string& tensor, uint32_t total = 3) {
  GgufParts p;
  p.pairs = {GgufPairOf("split.no", 2, U16(part)), GgufPairOf("split.count", 2, U16(parts)),
             GgufPairOf("split.tensors.count", 5, U32(total))};
  if (part == 0) p.pairs.push_back(GgufText("general.name", "split"));
  p.tensors = {GgufEntry(tensor, {1}, 0, 0)};
  p.data = Floats({part + 0.5f});
  return GgufBytes(p);
}

std::string PartName(const std::string& name, int part, int parts) {
  return name + "-0000" + std::to_string(part) + "-of-0000" + std::to_string(parts) + ".gguf";
}

TEST_CASE("split files open together, from any part") {
  std::vector<std::string> paths;
  for (int i = 0; i < 3; ++i) {
    paths.push_back(Written(PartName("m", i + 1, 3),
                            Part(static_cast<uint16_t>(i), 3, std::string(1, "cab"[i]))));
  }
  for (const std::string& path : paths) {
    const auto gguf = Gguf::Open(path);
    CHECK(gguf->parts() == 3);
    CHECK(gguf->metadata().String("general.name") == "split");
    REQUIRE(gguf->tensors().size() == 3);
    float values[3];
    for (size_t i = 0; i < 3; ++i) gguf->ReadF32(gguf->tensors()[i], 0, 1, &values[i]);
    CHECK((values[0] == 1.5f && values[1] == 2.5f && values[2] == 0.5f));
    CHECK(gguf->FileName(gguf->tensors()[0]) == paths[1]);
  }
}

TEST_CASE("split files that do not fit together") {
  const auto refused = [](const std::string& path, const std::string& words) {
    const std::string error = GgufError(path);
    CAPTURE(error);
    CHECK(IsPlainMessage(error, path.substr(0, path.rfind('/'))));
    CHECK(Holds(error, words));
  };
  refused(Written("renamed.gguf", Part(0, 3, "a")), "ends in -00001-of-00003.gguf");
  refused(Written(PartName("n", 2, 2), Part(0, 2, "a")), "ends in -00001-of-00002.gguf");
  const std::string first = Written(PartName("s", 1, 2), Part(0, 2, "a", 2));
  refused(first, "part 2 is not there");
  Written(PartName("s", 2, 2), Part(0, 2, "b", 2));
  refused(first, "expected part 2 of 2, but its keys say part 1 of 2");
  Written(PartName("s", 2, 2), GgufBytes(Small()));
  refused(first, "its keys say part 1 of 1");
  Written(PartName("s", 2, 2), Part(1, 2, "a", 2));
  refused(first, "the tensor 'a' is also in");
  Written(PartName("s", 2, 2), "GGUF");
  refused(first, "expected 4 bytes (version)");
  Written(PartName("s", 2, 2), Part(1, 2, "b", 2));
  CHECK(GgufError(first) == "");
  Written(PartName("s", 1, 2), Part(0, 2, "a", 9));
  refused(first, "'split.tensors.count': expected 9 tensors in all parts, got 2");
  refused(Written("t.gguf", Part(5, 3, "a")), "key 'split.no': expected an integer from 0 to 2");
}

// --- Files that lie. ---

// Small() with other key-value pairs.
std::string WithPair(const std::string& pair, uint64_t pairs_change = 0) {
  GgufParts parts = Small();
  parts.pairs.push_back(pair);
  parts.pairs_change = pairs_change;
  return GgufBytes(parts);
}

std::string WithEntry(const std::string& entry, size_t data = 64) {
  GgufParts parts;
  parts.tensors = {entry};
  parts.data = std::string(data, '\1');
  return GgufBytes(parts);
}

std::string WithVersion(uint32_t version) {
  GgufParts parts = Small();
  parts.version = version;
  return GgufBytes(parts);
}

std::string WithCounts(uint64_t tensors, uint64_t pairs) {
  return "GGUF" + U32(3) + U64(tensors) + U64(pairs) + std::string(100, '\0');
}

constexpr uint64_t kHuge[] = {1000, uint64_t{1} << 32, uint64_t{1} << 61, uint64_t{1} << 63,
                              ~uint64_t{0}};

std::vector<BadFile> BadHeaders() {
  std::vector<BadFile> cases = {
      {"empty", "", "expected 4 bytes (magic)"},
      {"another magic", "ggjt" + std::string(100, '\0'), "expected 'GGUF' at byte 0, got 'ggjt'"},
      {"git-lfs", "version https://git-lfs.github.com/spec/v1\n", "git-lfs"},
      {"version 0", WithVersion(0), "got version 0"},
      {"version 1", WithVersion(1), "got version 1, of August 2023"},
      {"version 4", WithVersion(4), "got version 4"},
      {"big-endian 3", WithVersion(0x03000000), "a big-endian file of version 3"},
      {"big-endian 2", WithVersion(0x02000000), "a big-endian file of version 2"},
      {"one pair more", WithPair(GgufU32("a", 1), 1), "(tensor name)"},
      {"key twice", WithPair(GgufU32("llama.block_count", 1)),
       "'llama.block_count' is there twice"},
      {"empty key", WithPair(GgufU32("", 1)), "is empty"},
      {"key not UTF-8", WithPair(GgufU32("\xFF", 1)), "is not UTF-8"},
      {"key with NUL", WithPair(GgufU32("a\0b"s, 1)), "holds a NUL"},
      {"long key", WithPair(GgufU32(std::string(65536, 'k'), 1)), "at most 65535"},
      {"type 13", WithPair(GgufPairOf("a", 13, U64(0))), "key 'a': at byte"},
      {"type -1", WithPair(GgufPairOf("a", 0xFFFFFFFF, U64(0))), "expected 0 to 12"},
      {"bool 2", WithPair(GgufPairOf("a", 7, "\2")), "0 or 1, got 2"},
      {"array of bool 2", WithPair(GgufPairOf("a", 9, GgufArray(7, 2, "\1\2"))), "got 2"},
      {"array of type 13", WithPair(GgufPairOf("a", 9, GgufArray(13, 1, "\1"))), "0 to 12"},
      {"array of arrays", WithPair(GgufPairOf("a", 9, GgufArray(9, 1, GgufArray(4, 1, U32(7))))),
       "arrays within an array are not supported"},
      {"arrays without end", WithPair(GgufPairOf("a", 9, Repeat(GgufArray(9, 1, ""), 5000))),
       "arrays within an array"},
      {"alignment 0", WithPair(GgufU32("general.alignment", 0)), "from 1 to"},
      {"alignment u64", WithPair(GgufPairOf("general.alignment", 10, U64(32))), "got uint64"},
      {"alignment i32", WithPair(GgufPairOf("general.alignment", 5, U32(32))), "got int32"},
      {"alignment 24", WithPair(GgufU32("general.alignment", 24)), "a power of two, got 24"},
      {"alignment 2^31", WithPair(GgufU32("general.alignment", 1u << 31)), "from 1 to"},
      {"alignment text", WithPair(GgufText("general.alignment", "x")), "got string"},
      {"split.count negative", WithPair(GgufPairOf("split.count", 5, U32(~0u))), "got -1"},
      {"split without number", WithPair(GgufPairOf("split.count", 2, U16(2))), "'split.no'"},
  };
  for (const uint64_t huge : kHuge) {
    const std::string n = std::to_string(huge);
    cases.push_back({"tensors " + n, WithCounts(huge, 0), "tensors"});
    cases.push_back({"pairs " + n, WithCounts(0, huge), "key-value pairs"});
    cases.push_back({"key bytes " + n, WithPair(U64(huge) + "a"), "(key)"});
    cases.push_back({"text bytes " + n, WithPair(GgufPairOf("a", 8, U64(huge) + "x")), "(string)"});
    for (const uint32_t type : {0u, 4u, 7u, 8u, 9u, 12u}) {
      cases.push_back({"array of " + n + " of type " + std::to_string(type),
                       WithPair(GgufPairOf("a", 9, GgufArray(type, huge, "x"))), "key 'a'"});
    }
  }
  return cases;
}

std::vector<BadFile> BadTensors() {
  const std::vector<uint64_t> unit = {1};
  GgufParts overlap = Small(), twice = Small(), hole = Small(), reversed = Small();
  hole.tensors[1] = GgufEntry("q", {1}, 0, 64);
  std::swap(reversed.tensors[0], reversed.tensors[1]);
  overlap.tensors[1] = GgufEntry("q", {1}, 0, 0);
  twice.tensors[1] = GgufEntry("w", {1}, 0, 32);
  const uint64_t big = uint64_t{1} << 32;
  std::vector<BadFile> cases = {
      {"no name", WithEntry(GgufEntry("", unit, 0, 0)), "is empty"},
      {"name not UTF-8", WithEntry(GgufEntry("\xC0\xAF", unit, 0, 0)), "is not UTF-8"},
      {"long name", WithEntry(GgufEntry(std::string(65536, 'n'), unit, 0, 0)), "at most 65535"},
      {"no dimensions", WithEntry(GgufEntry("w", {}, 0, 0)), "expected 1 to 4 dimensions, got 0"},
      {"five dimensions", WithEntry(GgufEntry("w", {1, 1, 1, 1, 1}, 0, 0)), "1 to 4 dimensions"},
      {"2^32 - 1 dimensions", WithEntry(GgufString("w") + U32(~0u)), "1 to 4 dimensions"},
      {"a dimension 0", WithEntry(GgufEntry("w", {1, 0}, 0, 0)), "at least 1, got 0"},
      {"product 2^64", WithEntry(GgufEntry("w", {big, big}, 0, 0)), "does not fit 64 bits"},
      {"product 2^64 and more", WithEntry(GgufEntry("w", {big, big, 3}, 0, 0)), "does not fit"},
      {"bytes 2^65", WithEntry(GgufEntry("w", {big, big / 2}, 0, 0)), "size in bytes"},
      {"all bits", WithEntry(GgufEntry("w", {~uint64_t{0}}, 24, 0)), "are not within"},
      {"type 40", WithEntry(GgufEntry("w", unit, 40, 0)), "'w': at byte"},
      {"type 4", WithEntry(GgufEntry("w", {32}, 4, 0)), "Q4_2 was taken out"},
      {"type 2^32 - 1", WithEntry(GgufEntry("w", unit, ~0u, 0)), "number 4294967295"},
      {"half a block", WithEntry(GgufEntry("w", {16, 2}, 8, 0)),
       "a multiple of 32 for Q8_0, got 16"},
      {"offset 4", WithEntry(GgufEntry("w", unit, 0, 4)), "got 4, which is no multiple of 32"},
      {"a hole first", WithEntry(GgufEntry("w", unit, 0, 32)), "expected offset 0, got 32: there is a hole"},
      {"beyond the end", WithEntry(GgufEntry("w", unit, 0, 64)), "a hole before it"},
      {"a hole", GgufBytes(hole), "expected offset 32, got 64: there is a hole"},
      {"reversed", GgufBytes(reversed), "expected offset 0, got 32"},
      {"too long", WithEntry(GgufEntry("w", {17}, 0, 0)), "its 68 bytes at offset 0"},
      {"offset that wraps", WithEntry(GgufEntry("w", unit, 0, ~uint64_t{31})), "a hole before it"},
      {"overlap", GgufBytes(overlap), "overlaps the tensor before it"},
      {"a name twice", GgufBytes(twice), "the tensor 'w' is also in"},
      {"terminal control", WithEntry(GgufEntry("\x1b[2J", unit, 99, 0)), "\\x1b"},
  };
  return cases;
}

TEST_CASE("files that lie are refused, for the right reason") {
  std::vector<BadFile> cases = BadHeaders();
  for (BadFile& bad : BadTensors()) cases.push_back(std::move(bad));
  for (const BadFile& bad : cases) {
    CAPTURE(bad.name);
    const std::string path = Written("bad.gguf", bad.contents);
    const std::string error = GgufError(path);
    CAPTURE(error);
    CHECK(IsPlainMessage(error, path));
    CHECK(Holds(error, bad.expect));
  }
}

TEST_CASE("a file that is cut anywhere is refused") {
  GgufParts parts = Small();
  parts.pairs.push_back(GgufPairOf("n", 9, GgufArray(8, 2, GgufString("a") + GgufString("b"))));
  const std::string whole = GgufBytes(parts);
  CHECK(GgufError(Written("cut.gguf", whole)) == "");
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const std::string path = Written("cut.gguf", whole.substr(0, size));
    CHECK(IsPlainMessage(GgufError(path), path));
  }
}

TEST_CASE("any byte may be wrong: an error, or a file whose tensors can be read") {
  GgufParts parts = Small();
  parts.pairs.push_back(GgufPairOf("l", 9, GgufArray(8, 2, GgufString("a") + GgufString("b"))));
  const std::string whole = GgufBytes(parts);
  size_t opened = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 0x80, 0xFF, 9}) {
      CAPTURE(at);
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      const std::string path = Written("wrong.gguf", bytes);
      const std::string error = ErrorOf([&] {
        const auto gguf = Gguf::Open(path);
        ++opened;
        for (const GgufTensor& tensor : gguf->tensors()) {
          REQUIRE(tensor.elements < 1000);
          std::vector<float> out(tensor.elements);
          gguf->ReadF32(tensor, 0, tensor.elements, out.data());
        }
      });
      CAPTURE(error);
      if (!error.empty()) CHECK(IsPlainMessage(error, path));
    }
  }
  CHECK(opened > 100);
}

#if !defined(_WIN32)  // where it would not be sparse
TEST_CASE("a huge sparse file allocates no more than a header may have") {
  const std::string path = Written("sparse.gguf", WithPair(GgufPairOf("a", 8, U64(1ull << 40))));
  std::filesystem::resize_file(path, uint64_t{1} << 41);
  CHECK(Holds(GgufError(path), "of the 256 MiB that a header may have"));
}
#endif

// --- Real files, written by llama.cpp. ---

std::vector<float> ReadAll(const Gguf& gguf, const GgufTensor& tensor) {
  std::vector<float> out(tensor.elements);
  gguf.ReadF32(tensor, 0, tensor.elements, out.data());
  return out;
}

// The largest of |a - b| / max |a| over blocks of 32, and the relative RMS error.
struct Difference {
  double worst = 0, rms = 0;
};
Difference Compare(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0, squares = 0, errors = 0;
  for (size_t block = 0; block < a.size(); block += 32) {
    double largest = 0, error = 0;
    for (size_t i = block; i < block + 32; ++i) {
      const double difference = double{b[i]} - a[i];
      largest = std::max(largest, std::fabs(double{a[i]}));
      error = std::max(error, std::fabs(difference));
      squares += double{a[i]} * a[i];
      errors += difference * difference;
    }
    worst = std::max(worst, error / largest);
  }
  return {worst, std::sqrt(errors / squares)};
}

TEST_CASE("llama.cpp's files: all tensors, near those in f16") {
  if (SkipWithoutReference("gguf files")) return;
  const std::string folder = ReferenceDir() + "/gguf/";
  const auto f16 = Gguf::Open(folder + "F16.gguf");
  CHECK(f16->metadata().String("general.architecture") == "llama");
  CHECK(f16->metadata().Array("tokenizer.ggml.tokens", GgufType::kString).String(1) == "<s>");
  // A rounding is half a step, and a step of Q8_0 the largest / 127; of Q4_0 largest / 8, whole at
  // the far end; d in f16 and F16's own rounding add 2^-11 of the largest each. The RMS errors
  // are what these files have, 0.0065 and 0.104, rounded up.
  const struct {
    const char* name;
    double worst, rms;
  } rows[] = {{"F16", 0, 0},
              {"Q8_0", 0.5 / 127 + 0x1p-10, 0.007},
              {"Q4_0", 0.126, 0.11},
              {"Q4_K", 0.2, 0.09}};
  for (const auto& row : rows) {
    CAPTURE(std::string(row.name));
    const auto gguf = Gguf::Open(folder + row.name + ".gguf");
    REQUIRE(gguf->tensors().size() == 21);
    Difference all;
    for (const GgufTensor& tensor : gguf->tensors()) {
      const GgufTensor* base = f16->Find(tensor.name);
      REQUIRE(base != nullptr);
      CHECK(tensor.shape == base->shape);
      CHECK(tensor.type->name == std::string(tensor.shape.size() == 1 ? "F32" : row.name));
      const Difference d = Compare(ReadAll(*f16, *base), ReadAll(*gguf, tensor));
      all.worst = std::max(all.worst, d.worst);
      all.rms = std::max(all.rms, d.rms);
    }
    INFO("worst " << all.worst << ", rms " << all.rms);
    CHECK(all.worst <= row.worst);
    CHECK(all.rms <= row.rms);
  }
}

TEST_CASE("vocabularies of llama.cpp's repository") {
  if (SkipWithoutReference("gguf vocabularies")) return;
  const struct {
    const char* name;
    uint64_t tokens;
    std::string last;
  } rows[] = {{"llama-spm", 32000, ""}, {"gpt-2", 50257, "<|endoftext|>"}, {"bert-bge", 30522, ""}};
  for (const auto& row : rows) {
    CAPTURE(std::string(row.name));
    const auto gguf =
        Gguf::Open(ReferenceDir() + "/tokenizers/gguf-vocab/ggml-vocab-" + row.name + ".gguf");
    const GgufValue& tokens = gguf->metadata().Array("tokenizer.ggml.tokens", GgufType::kString);
    CHECK(tokens.count == row.tokens);
    if (!row.last.empty()) CHECK(tokens.String(row.tokens - 1) == row.last);
  }
}

}  // namespace
}  // namespace glint
