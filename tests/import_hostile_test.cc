#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <filesystem>

#include "formats/import/checkpoint.h"
#include "tests/import_files.h"
#include "tests/system.h"
#include "tests/test_util.h"

// Safetensors files and Hugging Face folders that lie. PyTorch files: import_torch_test.cc.
namespace glint {
namespace {

namespace fs = std::filesystem;
using namespace test;

// A tensor called w, f32 (2), in the first 8 bytes; what an entry below is compared with.
const std::string kW = Entry("w", "F32", "[2]", 0, 8);
const std::string kData(8, '\1');

std::string WithHeader(const std::string& header) {
  return Safetensors(header, kData);
}

// One tensor whose members are `body`.
std::string WithBody(const std::string& body) {
  return WithHeader("{\"w\":{" + body + "}}");
}

std::string WithLength(uint64_t length) {
  const std::string whole = WithHeader("{" + kW + "}");
  return U64(length) + whole.substr(8);
}

std::vector<BadFile> BadLengths() {
  const std::string good = WithHeader("{" + kW + "}");
  const uint64_t length = good.size() - 8 - kData.size();
  std::vector<BadFile> cases;
  for (const uint64_t lie : {length + 9, length + 1000, uint64_t{100'000'001}, uint64_t{1} << 32,
                             uint64_t{1} << 63, ~uint64_t{7}, ~uint64_t{0}}) {
    cases.push_back({"length " + std::to_string(lie), WithLength(lie), "header length"});
  }
  for (const uint64_t lie : {uint64_t{0}, uint64_t{1}, length - 1, length + 1}) {
    cases.push_back({"length " + std::to_string(lie), WithLength(lie), "not valid JSON"});
  }
  for (const size_t size : {0, 1, 7}) {
    cases.push_back({"cut to " + std::to_string(size), good.substr(0, size), "8 bytes"});
  }
  for (const size_t size : {8, 9, 20}) {
    cases.push_back({"cut to " + std::to_string(size), good.substr(0, size), "header length"});
  }
  for (const size_t lost : {1, 4, 8}) {
    cases.push_back(
        {"cut by " + std::to_string(lost), good.substr(0, good.size() - lost), "not within"});
  }
  cases.push_back({"trailing byte", good + "x", "the file has"});
  cases.push_back({"no tensors but data", WithHeader("{}"), "the file has"});
  return cases;
}

std::vector<BadFile> BadJson() {
  const auto key = [](const std::string& name) {
    return WithHeader("{" + Entry(name, "F32", "[2]", 0, 8) + "}");
  };
  return {
      {"stray byte", key("\xFF"), "UTF-8"},
      {"overlong", key("\xC0\xAF"), "UTF-8"},
      {"raw surrogate", key("\xED\xA0\x80"), "UTF-8"},
      {"lone escaped surrogate", key("\\ud800"), "surrogate"},
      {"byte order mark", WithHeader("\xEF\xBB\xBF{" + kW + "}"), "byte order mark"},
      {"NUL after the value", WithHeader("{" + kW + "}\0"s), "NUL"},
      {"array", WithHeader("[]"), "object"},
      {"number", WithHeader("1"), "object"},
      {"null", WithHeader("null"), "object"},
      {"blank", WithHeader("   "), "JSON"},
      {"open brace", WithHeader("{" + kW), "JSON"},
      {"extra brace", WithHeader("{" + kW + "}}"), "JSON"},
      {"trailing comma", WithHeader("{" + kW + ",}"), "JSON"},
      {"two values", WithHeader("{" + kW + "}{}"), "JSON"},
      {"comment", WithHeader("{" + kW + "}//"), "JSON"},
      {"single quotes", WithHeader("{'w':1}"), "JSON"},
      {"control character", key("a\nb"), "JSON"},
      {"array depth", WithHeader(Repeat("[", 100000)), "deeper than 64"},
      {"object depth", WithHeader(Repeat("{\"a\":", 50000)), "deeper than 64"},
      {"metadata depth", WithHeader("{\"__metadata__\":" + Repeat("[", 20000)), "deeper than 64"},
      {"tensor twice", WithHeader("{" + kW + "," + kW + "}"), "twice"},
      {"tensor twice, escaped", WithHeader("{" + kW + ",\"\\u0077\":{}}"), "twice"},
      {"metadata twice", WithHeader("{\"__metadata__\":{},\"__metadata__\":{}," + kW + "}"),
       "twice"},
      {"field twice",
       WithBody("\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"),
       "twice"},
      {"metadata number", WithHeader("{\"__metadata__\":{\"a\":1}," + kW + "}"), "__metadata__"},
      {"metadata object", WithHeader("{\"__metadata__\":{\"a\":{}}," + kW + "}"), "__metadata__"},
      {"metadata array", WithHeader("{\"__metadata__\":[]," + kW + "}"), "__metadata__"},
      {"empty name", key(""), "is empty"},
      {"NUL in a name", key("a\\u0000b"), "NUL"},
      {"terminal control in a name", WithHeader("{\"\\u001b[2J\":1}"), "\\x1b"},
  };
}

std::vector<BadFile> BadEntries() {
  const std::string type = "\"dtype\":\"F32\",", shape = "\"shape\":[2],";
  const std::string offsets = "\"data_offsets\":[0,8]";
  std::vector<BadFile> cases = {
      {"entry null", WithHeader("{\"w\":null}"), "dtype"},
      {"entry array", WithHeader("{\"w\":[]}"), "dtype"},
      {"no dtype", WithBody(shape + offsets), "dtype"},
      {"no shape", WithBody(type + offsets), "shape"},
      {"no offsets", WithBody(type + "\"shape\":[2]"), "data_offsets"},
      {"dtype number", WithBody("\"dtype\":1," + shape + offsets), "dtype"},
      {"dtype null", WithBody("\"dtype\":null," + shape + offsets), "dtype"},
      {"shape number", WithBody(type + "\"shape\":2," + offsets), "shape"},
      {"shape object", WithBody(type + "\"shape\":{}," + offsets), "shape"},
      {"offsets object", WithBody(type + shape + "\"data_offsets\":{}"), "data_offsets"},
      {"rank 9", WithBody(type + "\"shape\":[1,1,1,1,1,1,1,1,2]," + offsets), "dimensions"},
  };
  for (const std::string name : {"f32", "F33", "", "F8_E4M3", "F4", "C64", "U32", "F32 ", "int8"}) {
    cases.push_back({"dtype " + name, WithBody("\"dtype\":\"" + name + "\"," + shape + offsets),
                     "not supported"});
  }
  for (const std::string size :
       {"-1", "2.0", "2e0", "\"2\"", "true", "null", "[2]", "18446744073709551616"}) {
    cases.push_back(
        {"size " + size, WithBody(type + "\"shape\":[" + size + "]," + offsets), "non-negative"});
  }
  for (const std::string size : {"02", "NaN", "+2", "0x2", "1e999"}) {
    cases.push_back(
        {"size " + size, WithBody(type + "\"shape\":[" + size + "]," + offsets), "JSON"});
  }
  for (const std::string pair : {"", "0", "0,8,8"}) {
    cases.push_back({"offsets " + pair, WithBody(type + shape + "\"data_offsets\":[" + pair + "]"),
                     "2 numbers"});
  }
  for (const std::string pair : {"0,8.0", "-1,7", "\"0\",8", "0,18446744073709551616", "null,8"}) {
    cases.push_back({"offsets " + pair, WithBody(type + shape + "\"data_offsets\":[" + pair + "]"),
                     "non-negative"});
  }
  for (const std::string pair : {"0,9", "8,0", "9,17", "0,18446744073709551615",
                                 "18446744073709551608,18446744073709551615"}) {
    cases.push_back({"offsets " + pair, WithBody(type + shape + "\"data_offsets\":[" + pair + "]"),
                     "not within"});
  }
  return cases;
}

std::vector<BadFile> BadGeometry() {
  const auto shape = [](const std::string& type, const std::string& sizes) {
    return WithHeader("{" + Entry("w", type, sizes, 0, 8) + "}");
  };
  const std::string data16(16, '\1');
  const auto two = [&](const std::string& a, const std::string& b) {
    return Safetensors("{" + a + "," + b + "}", data16);
  };
  std::string many;  // all claim the same bytes
  for (int i = 0; i < 20000; ++i) {
    many += (i ? "," : "") + Entry("t" + std::to_string(i), "F32", "[2]", 0, 8);
  }
  return {
      {"too many elements", shape("F32", "[3]"), "shape"},
      {"too few elements", shape("F32", "[1]"), "shape"},
      {"zero elements over bytes", shape("F32", "[0]"), "shape"},
      {"F64 in half its bytes", shape("F64", "[2]"), "shape"},
      {"a million in 8 bytes", shape("F32", "[1000,1000]"), "shape"},
      {"product 2^64", shape("U8", "[4294967296,4294967296]"), "shape"},
      {"product wraps to 8", shape("U8", "[8,2305843009213693953]"), "shape"},
      {"bytes wrap to 8", shape("F32", "[4611686018427387906]"), "shape"},
      {"overflow hidden by a zero",
       WithHeader("{" + Entry("z", "F32", "[0,4294967296,4294967296,4294967296]", 0, 0) + "," + kW +
                  "}"),
       "shape"},
      {"full overlap", two(kW, Entry("v", "F32", "[2]", 0, 8)), "overlaps"},
      {"partial overlap", two(Entry("v", "F32", "[3]", 0, 12), Entry("u", "F32", "[2]", 8, 16)),
       "overlaps"},
      {"inside another", two(Entry("v", "F32", "[4]", 0, 16), Entry("u", "F32", "[1]", 4, 8)),
       "overlaps"},
      {"hole at the start", two(Entry("v", "F32", "[1]", 4, 8), Entry("u", "F32", "[2]", 8, 16)),
       "hole"},
      {"hole in the middle", two(Entry("v", "F32", "[1]", 0, 4), Entry("u", "F32", "[2]", 8, 16)),
       "hole"},
      {"hole at the end", two(kW, Entry("v", "F32", "[1]", 8, 12)), "the file has"},
      {"empty tensor in a hole",
       two(Entry("v", "F32", "[4]", 0, 16), Entry("u", "F32", "[0]", 8, 8)), "overlaps"},
      {"20000 overlapping entries", WithHeader("{" + many + "}"), "overlaps"},
      {"zip", "PK\3\4" + std::string(100, 'x'), "zip"},
      {"pickle", "\x80\x02}q" + std::string(100, 'x'), "pickle"},
      {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 13\n",
       "git lfs pull"},
      {"HTML page", "<!DOCTYPE html><html><body>404</body></html>", "HTML"},
      {"GGUF", "GGUF\3\0\0\0"s + std::string(100, '\0'), "GGUF"},
  };
}

TEST_CASE("safetensors that lie are refused, each for its reason") {
  const std::string path = TempDir() + "/bad.safetensors";
  size_t count = 0;
  for (const auto& list : {BadLengths(), BadJson(), BadEntries(), BadGeometry()}) {
    for (const BadFile& bad : list) {
      CAPTURE(bad.name);
      WriteFile(path, bad.contents);
      const std::string message = OpenError(path);
      CAPTURE(message);
      CHECK(IsPlainMessage(message, path));
      CHECK(message.find(bad.expect) != std::string::npos);
      ++count;
    }
  }
  CHECK(count >= 92);
}

TEST_CASE("unusual safetensors that the format allows are accepted") {
  const std::string path = TempDir() + "/good.safetensors";
  const std::vector<BadFile> good = {
      {"plain", WithHeader("{" + kW + "}"), ""},
      {"no tensors", Safetensors("{}", ""), ""},
      {"metadata alone", Safetensors("{\"__metadata__\":{\"format\":\"pt\"}}", ""), ""},
      {"trailing spaces", WithHeader("{" + kW + "}     "), ""},
      {"leading spaces", WithHeader(" \n\t{" + kW + "}"), ""},
      {"rank 0", Safetensors("{" + Entry("w", "F64", "[]", 0, 8) + "}", kData), ""},
      {"zero elements", WithHeader("{" + Entry("e", "F32", "[3,0]", 8, 8) + "," + kW + "}"), ""},
      {"zero elements first", WithHeader("{" + Entry("e", "F32", "[0]", 0, 0) + "," + kW + "}"),
       ""},
      {"unsorted",
       WithHeader("{" + Entry("a", "F32", "[1]", 4, 8) + "," + Entry("b", "F32", "[1]", 0, 4) +
                  "}"),
       ""},
      {"unicode name",
       WithHeader("{" + Entry("\xE6\x9D\x83\xE9\x87\x8D", "F32", "[2]", 0, 8) + "}"), ""},
      {"escaped name",
       WithHeader("{" + Entry("\\u6743\\n\\ud83d\\ude00", "F32", "[2]", 0, 8) + "}"), ""},
      {"unaligned",
       Safetensors("{" + Entry("a", "U8", "[1]", 0, 1) + "," + Entry("b", "F32", "[1]", 1, 5) + "}",
                   "12345"),
       ""},
      {"unknown member",
       WithBody("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":[1]"), ""},
      {"rank 8", WithHeader("{" + Entry("w", "F32", "[1,1,1,1,1,1,1,2]", 0, 8) + "}"), ""},
  };
  for (const BadFile& file : good) {
    CAPTURE(file.name);
    WriteFile(path, file.contents);
    CHECK(OpenError(path) == "");
  }
  std::string entries, data;
  for (const std::string type :
       {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}) {
    const uint64_t bytes = type == "BOOL" || type.ends_with("8") ? 1
                           : type.ends_with("16")                ? 2
                           : type.ends_with("32")                ? 4
                                                                 : 8;
    entries +=
        (data.empty() ? "" : ",") + Entry(type, type, "[1]", data.size(), data.size() + bytes);
    data += std::string(bytes, '\1');
  }
  WriteFile(path, Safetensors("{" + entries + "}", data));
  const auto checkpoint = Checkpoint::Open(path);
  CHECK(checkpoint->tensors().size() == 10);
  for (const SourceTensor& tensor : checkpoint->tensors()) CHECK(tensor.name == Name(tensor.type));
}

// A folder with a good shard a.safetensors (tensor w) and an index whose weight_map is `map`.
std::string FolderWithIndex(const std::string& index) {
  const std::string folder = TempDir();
  WriteFile(folder + "/a.safetensors", WithHeader("{" + kW + "}"));
  WriteFile(folder + "/model.safetensors.index.json", index);
  return folder;
}

TEST_CASE("an index that lies is refused with the index and the shard named") {
  const auto map = [](const std::string& tensor, const std::string& shard) {
    return "{\"weight_map\":{\"" + tensor + "\":" + shard + "}}";
  };
  std::vector<BadFile> cases = {
      {"missing shard", map("w", "\"b.safetensors\""), "'b.safetensors' is missing"},
      {"unknown tensor", map("v", "\"a.safetensors\""), "'v'"},
      {"shard not a string", map("w", "1"), "expected a string"},
      {"no map", "{}", "weight_map"},
      {"empty map", "{\"weight_map\":{}}", "no tensor"},
      {"map is a list", "{\"weight_map\":[]}", "weight_map"},
      {"not an object", "[]", "weight_map"},
      {"cut short", "{\"weight_map\":{", "not valid JSON"},
      {"tensor twice", "{\"weight_map\":{\"w\":\"a.safetensors\",\"w\":\"a.safetensors\"}}",
       "twice"},
      {"git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"empty file", "", "not valid JSON"},
  };
  for (const std::string shard :
       {"../a.safetensors", "/tmp/a.safetensors", "x/a.safetensors", "..\\\\a.safetensors",
        "a.safetensors\\u0000", "a\\u0000.safetensors", "", ".", "..", "/dev/zero",
        "https://example.org/a.safetensors", "C:a.safetensors", ".safetensors", ".bin", "a.bin",
        "a.safetensors ", "a"}) {
    cases.push_back({"shard " + shard, map("w", "\"" + shard + "\""), "plain file name"});
  }
  for (const BadFile& bad : cases) {
    CAPTURE(bad.name);
    const std::string folder = FolderWithIndex(bad.contents);
    const std::string message = OpenError(folder);
    CAPTURE(message);
    CHECK(IsPlainMessage(message, folder + "/model.safetensors.index.json"));
    CHECK(message.find(bad.expect) != std::string::npos);
  }
  CHECK(cases.size() >= 28);
}

TEST_CASE("shards that contradict the index or each other") {
  const std::string index = "{\"weight_map\":{\"w\":\"a.safetensors\",\"v\":\"b.safetensors\"}}";
  const std::string folder = FolderWithIndex(index);
  // The other shard has the same tensor again, then the wrong one, then is damaged, then a folder.
  const std::string other = folder + "/b.safetensors";
  WriteFile(other, WithHeader("{" + kW + "}"));
  CHECK(OpenError(folder).find("is also in") != std::string::npos);
  WriteFile(other, WithHeader("{" + Entry("u", "F32", "[2]", 0, 8) + "}"));
  CHECK(OpenError(folder).find("'v' is not in") != std::string::npos);
  WriteFile(other, "damaged, damaged");
  CHECK(OpenError(folder).starts_with(other));
  fs::remove(other);
  fs::create_directory(other);
  CHECK(OpenError(folder).find("'b.safetensors' is missing") != std::string::npos);
  fs::remove(other);
  WriteFile(other, WithHeader("{" + Entry("v", "F32", "[2]", 0, 8) + "}"));
  CHECK(OpenError(folder) == "");
  // The two tensors exchanged.
  WriteFile(folder + "/model.safetensors.index.json",
            "{\"weight_map\":{\"v\":\"a.safetensors\",\"w\":\"b.safetensors\"}}");
  CHECK(OpenError(folder).find("but in") != std::string::npos);
}

TEST_CASE("folders and paths without a checkpoint") {
  const std::string folder = TempDir();
  const std::string message = OpenError(folder);
  CHECK(message.starts_with(folder));
  for (const std::string name : {"model.safetensors.index.json", "model.safetensors",
                                 "pytorch_model.bin.index.json", "pytorch_model.bin"}) {
    CHECK(message.find(name) != std::string::npos);
  }
  CHECK(OpenError(folder + "/nothing.safetensors").starts_with(folder + "/nothing.safetensors"));
  CHECK(OpenError("").find("cannot open") != std::string::npos);

  WriteFile(folder + "/model.onnx", "x");
  CHECK(OpenError(folder + "/model.onnx").find(".safetensors") != std::string::npos);
  for (const std::string& path : test::NoRegularFiles(folder, "pipe.safetensors")) {
    CHECK(OpenError(path).find("not a regular file") != std::string::npos);
  }

  fs::create_directory(folder + "/model.safetensors");  // a folder is not weights
  CHECK(OpenError(folder).find("no weights") != std::string::npos);
#if !defined(_WIN32)
  fs::create_symlink("loop.safetensors", folder + "/loop.safetensors");
  CHECK(OpenError(folder + "/loop.safetensors").find("cannot open") != std::string::npos);
#endif
}

TEST_CASE("a config.json that is none") {
  const std::string folder = TempDir();
  WriteFile(folder + "/model.safetensors", WithHeader("{" + kW + "}"));
  CHECK(OpenError(folder) == "");
  const std::string config = folder + "/config.json";
  for (const std::string text :
       {"", "[]", "{", "{\"a\":1,\"a\":2}", "{\"a\":NaN}", "{} x",
        "version https://git-lfs.github.com/spec/v1\n", "\xFF\xFE{\0}\0"}) {
    CAPTURE(text);
    WriteFile(config, text);
    CHECK(IsPlainMessage(OpenError(folder), config));
    CHECK(IsPlainMessage(OpenError(folder + "/model.safetensors"), config));
  }
  WriteFile(config, "{\"model_type\":\"chatglm\"}");
  CHECK(OpenError(folder) == "");
}

}  // namespace
}  // namespace glint
