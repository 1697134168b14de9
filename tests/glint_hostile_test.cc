// Files that lie: each corruption of a good file must be one clear Error that names file and place.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "formats/glint_file.h"
#include "lib/error.h"
#include "tests/glint_samples.h"
#include "tests/system.h"
#include "tests/test_util.h"

namespace glint {
namespace {

using nlohmann::json;

const std::string& GoodFile() {
  static const std::string file = [] {
    const std::string path = TempDir() + "/good.glint";
    WriteSample(SampleModel(), path);
    return ReadFile(path);
  }();
  return file;
}

// Opens and verifies `bytes` as a file, by map and by copy, and as memory; all must fail alike.
// Returns the message, empty if the file was accepted.
std::string Refusal(const std::string& bytes) {
  static const std::string path = TempDir() + "/bad.glint";
  WriteFile(path, bytes);
  std::string messages[3];
  for (size_t i = 0; i < 3; ++i) {
    try {
      const auto file = i == 2 ? GlintFile::FromMemory(bytes.data(), bytes.size(), path)
                               : GlintFile::Open(path, i == 0 ? LoadMode::kMap : LoadMode::kCopy);
      file->Verify();
    } catch (const Error& error) {
      messages[i] = error.what();
    }
  }
  CHECK(messages[0] == messages[1]);
  CHECK(messages[0] == messages[2]);
  CHECK(messages[0].find('\n') == std::string::npos);
  if (messages[0].empty()) return "";
  CHECK(messages[0].rfind(path, 0) == 0);
  return messages[0].substr(std::min(path.size(), messages[0].size()));
}

void CheckRefused(const std::string& what, const std::string& bytes, const char* place) {
  CAPTURE(what);
  const std::string message = Refusal(bytes);
  CAPTURE(message);
  CHECK(message.find(place) != std::string::npos);
}

std::string WithUint(uint64_t offset, size_t size, uint64_t value, bool right_checksum) {
  std::string file = GoodFile();
  std::memcpy(file.data() + offset, &value, size);
  return right_checksum ? WithChecksum(file) : file;
}

struct JsonCase {
  const char* what;
  std::function<void(json&)> edit;
  const char* place;  // in the message
};

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

// The sample's tensors by their place in the list.
enum : size_t { kVocabulary, kLmHead, kBias, kInt4, kInt4x, kInt4a, kZero };

json& Entry(json& root, size_t index) {
  return root["tensors"][index];
}
json& NodeOf(json& root, size_t index) {
  return root["graphs"][0]["nodes"][index];
}

const std::vector<JsonCase>& SectionCases() {
  static const std::vector<JsonCase> cases = {
      {"no metadata", [](json& j) { j.erase("metadata"); }, "header: the key 'metadata'"},
      {"no config", [](json& j) { j.erase("config"); }, "header: the key 'config'"},
      {"no graphs", [](json& j) { j.erase("graphs"); }, "header: the key 'graphs'"},
      {"no tokenizer", [](json& j) { j.erase("tokenizer"); }, "header: the key 'tokenizer'"},
      {"no prompt", [](json& j) { j.erase("prompt"); }, "header: the key 'prompt'"},
      {"no tensors", [](json& j) { j.erase("tensors"); }, "header: the key 'tensors'"},
      {"unknown section", [](json& j) { j["adapters"] = 1; }, "header: unknown key 'adapters'"},
      {"metadata list", [](json& j) { j["metadata"] = json::array(); }, "header: 'metadata'"},
      {"metadata null", [](json& j) { j["metadata"] = nullptr; }, "header: 'metadata'"},
      {"config text", [](json& j) { j["config"] = "x"; }, "header: 'config'"},
      {"prompt number", [](json& j) { j["prompt"] = 3; }, "header: 'prompt'"},
      {"tokenizer true", [](json& j) { j["tokenizer"] = true; }, "header: 'tokenizer'"},
      {"graphs object", [](json& j) { j["graphs"] = json::object(); }, "header: 'graphs'"},
      {"tensors null", [](json& j) { j["tensors"] = nullptr; }, "header: 'tensors'"},
      {"root list", [](json& j) { j = json::array(); }, "header: expected an object"},
      {"root null", [](json& j) { j = nullptr; }, "header: expected an object"},
      {"65 graphs",
       [](json& j) {
         while (j["graphs"].size() < 65) j["graphs"].push_back(json::object());
       },
       "65 graphs"},
  };
  return cases;
}

const std::vector<JsonCase>& TensorCases() {
  static const std::vector<JsonCase> cases = {
      {"no name", [](json& j) { Entry(j, 2).erase("name"); }, "tensors: the key 'name'"},
      {"name is a number", [](json& j) { Entry(j, 2)["name"] = 5; }, "tensors: 'name'"},
      {"name empty", [](json& j) { Entry(j, 2)["name"] = ""; }, "the name of a tensor"},
      {"name too long", [](json& j) { Entry(j, 2)["name"] = std::string(256, 'a'); },
       "of a tensor"},
      {"name has a space", [](json& j) { Entry(j, 2)["name"] = "a b"; }, "of a tensor"},
      {"name has an escape", [](json& j) { Entry(j, 2)["name"] = "a\x1b[2J"; }, "'a\\x1b[2J'"},
      {"name twice", [](json& j) { Entry(j, 3)["name"] = "layer.bias"; },
       "'layer.bias': appears twice"},
      {"tied name twice", [](json& j) { Entry(j, 1)["name"] = "vocabulary"; },
       "'vocabulary': appears"},
      {"entry is a list", [](json& j) { Entry(j, 2) = json::array(); },
       "tensors: expected an object"},
      {"unknown key", [](json& j) { Entry(j, 2)["stride"] = 4; },
       "'layer.bias': unknown key 'stride'"},
      {"no dtype", [](json& j) { Entry(j, 2).erase("dtype"); }, "'layer.bias': the key 'dtype'"},
      {"unknown dtype", [](json& j) { Entry(j, 2)["dtype"] = "f64"; }, "unknown dtype 'f64'"},
      {"dtype in capitals", [](json& j) { Entry(j, 2)["dtype"] = "F32"; }, "unknown dtype 'F32'"},
      {"dtype is a number", [](json& j) { Entry(j, 2)["dtype"] = 2; }, "'layer.bias': 'dtype'"},
      {"unknown block offset", [](json& j) { Entry(j, 5)["block_offset"] = "max"; },
       "offset 'max'"},
      {"offset on f32", [](json& j) { Entry(j, 2)["block_offset"] = "zero"; },
       "no tensor f32 (zero)"},
      {"offset on int4", [](json& j) { Entry(j, 3)["block_offset"] = "min"; },
       "no tensor int4 (min)"},
      {"other offset", [](json& j) { Entry(j, 6)["block_offset"] = "min"; },
       "'layer.zero': int4a (min)"},
      {"no shape", [](json& j) { Entry(j, 2).erase("shape"); }, "'layer.bias': the key 'shape'"},
      {"rank 0", [](json& j) { Entry(j, 2)["shape"] = json::array(); }, "1 or 2 dimensions, got 0"},
      {"rank 3",
       [](json& j) {
         Entry(j, 2)["shape"] = {1, 1, 5};
       },
       "1 or 2 dimensions, got 3"},
      {"rank 100000", [](json& j) { Entry(j, 2)["shape"] = std::vector<int>(100000, 1); },
       "got 100000"},
      {"dimension 0", [](json& j) { Entry(j, 2)["shape"] = {0}; }, "'layer.bias': every dimension"},
      {"dimension -5", [](json& j) { Entry(j, 2)["shape"] = {-5}; },
       "'layer.bias': every dimension"},
      {"dimension 5.0", [](json& j) { Entry(j, 2)["shape"] = {5.0}; },
       "'layer.bias': every dimension"},
      {"dimension text", [](json& j) { Entry(j, 2)["shape"] = {"5"}; },
       "'layer.bias': every dimension"},
      {"shape is a number", [](json& j) { Entry(j, 2)["shape"] = 5; }, "'layer.bias': 'shape'"},
      {"huge vector", [](json& j) { Entry(j, 2)["shape"] = {kHuge}; }, "there is no tensor f32"},
      {"vector bytes wrap", [](json& j) { Entry(j, 2)["shape"] = {(kHuge >> 2) + 1}; },
       "no tensor f32"},
      {"matrix bytes wrap",
       [](json& j) {
         Entry(j, 3)["shape"] = {uint64_t{1} << 32, uint64_t{1} << 32};
       },
       "no tensor int4"},
      {"huge rows",
       [](json& j) {
         Entry(j, 3)["shape"] = {kHuge, 1};
       },
       "no tensor int4"},
      {"huge columns",
       [](json& j) {
         Entry(j, 3)["shape"] = {1, kHuge};
       },
       "no tensor int4"},
      {"int4 vector", [](json& j) { Entry(j, 3)["shape"] = {512}; }, "no tensor int4 (512)"},
      {"u8 matrix",
       [](json& j) {
         Entry(j, 13)["shape"] = {5, 13};
       },
       "no tensor u8 (5, 13)"},
      {"i32 matrix",
       [](json& j) {
         Entry(j, 14)["shape"] = {1, 3};
       },
       "no tensor i32 (1, 3)"},
      {"sizes sum past 2^62",
       [](json& j) {
         for (size_t i : {2, 11}) Entry(j, i)["shape"] = {uint64_t{1} << 60};
         Entry(j, 13)["shape"] = {uint64_t{1} << 62};
       },
       "exceed 2^62 bytes"},
      {"no bytes", [](json& j) { Entry(j, 2).erase("bytes"); }, "'layer.bias': the key 'bytes'"},
      {"bytes too many", [](json& j) { Entry(j, 2)["bytes"] = 24; },
       "takes 20 bytes, the header says 24"},
      {"bytes too few", [](json& j) { Entry(j, 2)["bytes"] = 16; },
       "takes 20 bytes, the header says 16"},
      {"bytes negative", [](json& j) { Entry(j, 2)["bytes"] = -20; }, "'layer.bias': 'bytes'"},
      {"bytes 20.0", [](json& j) { Entry(j, 2)["bytes"] = 20.0; }, "'layer.bias': 'bytes'"},
      {"bytes huge", [](json& j) { Entry(j, 2)["bytes"] = kHuge; },
       "'layer.bias': f32 (5) takes 20"},
      {"one row more",
       [](json& j) {
         Entry(j, 3)["shape"] = {17, 32};
       },
       "'layer.int4': int4 (17, 32)"},
      {"no offset", [](json& j) { Entry(j, 2).erase("offset"); }, "'layer.bias': the key 'offset'"},
      {"misaligned",
       [](json& j) { Entry(j, 2)["offset"] = Entry(j, 2)["offset"].get<uint64_t>() + 4; },
       "multiple of 64"},
      {"overlap", [](json& j) { Entry(j, 2)["offset"] = 0; }, "'layer.bias': expected offset"},
      {"partial overlap",
       [](json& j) { Entry(j, 2)["offset"] = Entry(j, 2)["offset"].get<uint64_t>() - 64; },
       "overlaps"},
      {"hole", [](json& j) { Entry(j, 2)["offset"] = Entry(j, 2)["offset"].get<uint64_t>() + 64; },
       "a hole"},
      {"first tensor not at 0", [](json& j) { Entry(j, 0)["offset"] = 64; },
       "'vocabulary': expected offset 0"},
      {"offset past the end", [](json& j) { Entry(j, 2)["offset"] = 1 << 30; }, "'layer.bias'"},
      {"offset huge", [](json& j) { Entry(j, 2)["offset"] = kHuge - 63; }, "'layer.bias'"},
      {"offset text", [](json& j) { Entry(j, 2)["offset"] = "64"; }, "'layer.bias': 'offset'"},
      {"two places swapped",
       [](json& j) { std::swap(Entry(j, 5)["offset"], Entry(j, 6)["offset"]); }, "'layer.int4a'"},
      {"two entries swapped", [](json& j) { std::swap(Entry(j, 5), Entry(j, 6)); }, "'layer.zero'"},
      {"last tensor missing", [](json& j) { j["tensors"].erase(15), j["tensors"].erase(14); },
       "the last tensor ends at byte"},
      {"one tensor more",
       [](json& j) {
         json entry = Entry(j, 14);
         entry["name"] = "more";
         entry["offset"] = entry["offset"].get<uint64_t>() + 64;
         j["tensors"].push_back(entry);
       },
       "truncated: tensor 'more'"},
      {"a terabyte in a small file",
       [](json& j) {
         while (j["tensors"].size() > 1) j["tensors"].erase(1);
         j["graphs"] = json::array();
         j["tensors"][0] = {{"name", "t"},
                            {"dtype", "u8"},
                            {"shape", {uint64_t{1} << 40}},
                            {"offset", 0},
                            {"bytes", uint64_t{1} << 40},
                            {"xxh3", std::string(16, '0')}};
       },
       "truncated: tensor 't'"},
      {"no checksum", [](json& j) { Entry(j, 2).erase("xxh3"); }, "'layer.bias': the key 'xxh3'"},
      {"checksum number", [](json& j) { Entry(j, 2)["xxh3"] = 1; }, "'layer.bias': 'xxh3'"},
      {"checksum short", [](json& j) { Entry(j, 2)["xxh3"] = "0123456789abcde"; }, "16 lower-case"},
      {"checksum long", [](json& j) { Entry(j, 2)["xxh3"] = "0123456789abcdef0"; },
       "16 lower-case"},
      {"checksum capitals", [](json& j) { Entry(j, 2)["xxh3"] = "0123456789ABCDEF"; },
       "16 lower-case"},
      {"checksum not hex", [](json& j) { Entry(j, 2)["xxh3"] = "0123456789abcdeg"; },
       "16 lower-case"},
      {"checksum wrong", [](json& j) { Entry(j, 2)["xxh3"] = "0123456789abcdef"; },
       "tensor 'layer.bias': damaged"},
      {"tied to nothing", [](json& j) { Entry(j, 1)["tied_to"] = "nothing"; },
       "'lm_head': tied to 'nothing'"},
      {"tied to itself", [](json& j) { Entry(j, 1)["tied_to"] = "lm_head"; }, "tied to 'lm_head'"},
      {"tied to a later one", [](json& j) { Entry(j, 1)["tied_to"] = "half"; }, "tied to 'half'"},
      {"tied to a tied one", [](json& j) { Entry(j, 15)["tied_to"] = "lm_head"; },
       "tied to 'lm_head'"},
      {"tied to empty", [](json& j) { Entry(j, 1)["tied_to"] = ""; },
       "'lm_head': 'tied_to' is empty"},
      {"tied to a number", [](json& j) { Entry(j, 1)["tied_to"] = 0; }, "'lm_head': 'tied_to'"},
      {"tied with a shape",
       [](json& j) {
         Entry(j, 1)["shape"] = {50, 64};
       },
       "'lm_head': unknown key 'shape'"},
  };
  return cases;
}

const std::vector<JsonCase>& GraphCases() {
  static const std::vector<JsonCase> cases = {
      {"graph is a number", [](json& j) { j["graphs"][0] = 1; }, "graph: expected an object"},
      {"graph without name", [](json& j) { j["graphs"][0].erase("name"); },
       "graph: the key 'name'"},
      {"graph with empty name", [](json& j) { j["graphs"][0]["name"] = ""; },
       "the name of a graph"},
      {"graph twice", [](json& j) { j["graphs"][1]["name"] = "main"; },
       "graph 'main' appears twice"},
      {"graph key", [](json& j) { j["graphs"][0]["version"] = 2; }, "unknown key 'version'"},
      {"no inputs", [](json& j) { j["graphs"][0].erase("inputs"); },
       "graph 'main': the key 'inputs'"},
      {"no nodes", [](json& j) { j["graphs"][0].erase("nodes"); }, "graph 'main': the key 'nodes'"},
      {"no outputs", [](json& j) { j["graphs"][0]["outputs"] = json::array(); },
       "'main': has no output"},
      {"input is a number", [](json& j) { j["graphs"][0]["inputs"][0] = 1; },
       "graph 'main': 'inputs'"},
      {"input twice", [](json& j) { j["graphs"][0]["inputs"][1] = "ids"; }, "'ids' is made twice"},
      {"input is a tensor", [](json& j) { j["graphs"][0]["inputs"][1] = "layer.f32"; },
       "the name of a tensor: 'layer.f32'"},
      {"input name empty", [](json& j) { j["graphs"][0]["inputs"][1] = ""; },
       "name of a graph input"},
      {"output unknown", [](json& j) { j["graphs"][0]["outputs"][0] = "w"; },
       "output 'w' is made by no"},
      {"output is an input", [](json& j) { j["graphs"][0]["outputs"][0] = "ids"; }, "output 'ids'"},
      {"output is a tensor", [](json& j) { j["graphs"][0]["outputs"][0] = "half"; },
       "output 'half'"},
      {"output twice", [](json& j) { j["graphs"][0]["outputs"].push_back("logits"); },
       "listed twice"},
      {"5000 inputs",
       [](json& j) { j["graphs"][0]["inputs"] = std::vector<std::string>(5000, "a"); },
       "5000 inputs"},
      {"node is null", [](json& j) { NodeOf(j, 1) = nullptr; },
       "graph 'main': node 1: expected an object"},
      {"node key", [](json& j) { NodeOf(j, 1)["adapter"] = 1; }, "node 1: unknown key 'adapter'"},
      {"node without op", [](json& j) { NodeOf(j, 1).erase("op"); }, "node 1: the key 'op'"},
      {"op with newline", [](json& j) { NodeOf(j, 1)["op"] = "li\nnear"; }, "'li\\x0anear'"},
      {"node without inputs", [](json& j) { NodeOf(j, 1).erase("inputs"); },
       "node 1: the key 'inputs'"},
      {"node input unknown", [](json& j) { NodeOf(j, 1)["inputs"][0] = "w"; },
       "node 1 ('linear'): input 'w' is no graph input"},
      {"node input later", [](json& j) { NodeOf(j, 1)["inputs"][0] = "logits"; },
       "input 'logits' is no"},
      {"node input itself", [](json& j) { NodeOf(j, 1)["inputs"][0] = "y"; }, "input 'y' is no"},
      {"node input of another graph",
       [](json& j) { j["graphs"][1]["nodes"][0]["inputs"][0] = "y"; }, "graph 'encoder': node 0"},
      {"node without output", [](json& j) { NodeOf(j, 2)["outputs"] = json::array(); },
       "node 2 ('linear'): has no output"},
      {"value made twice", [](json& j) { NodeOf(j, 1)["outputs"][1] = "x"; }, "'x' is made twice"},
      {"node output twice", [](json& j) { NodeOf(j, 1)["outputs"][1] = "y"; }, "'y' is made twice"},
      {"output overwrites an input", [](json& j) { NodeOf(j, 1)["outputs"][1] = "ids"; },
       "'ids' is made"},
      {"output overwrites a tensor", [](json& j) { NodeOf(j, 1)["outputs"][1] = "half"; },
       "of a tensor: 'half'"},
      {"attributes is a list", [](json& j) { NodeOf(j, 0)["attributes"] = json::array(); },
       "'attributes'"},
      {"attribute null", [](json& j) { NodeOf(j, 0)["attributes"]["text"] = nullptr; },
       "attribute 'text'"},
      {"attribute true", [](json& j) { NodeOf(j, 0)["attributes"]["text"] = true; },
       "attribute 'text'"},
      {"attribute object", [](json& j) { NodeOf(j, 0)["attributes"]["text"] = json::object(); },
       "attribute 'text'"},
      {"attribute 2^63", [](json& j) { NodeOf(j, 0)["attributes"]["count"] = uint64_t{1} << 63; },
       "attribute 'count'"},
      {"list with a number",
       [](json& j) {
         NodeOf(j, 0)["attributes"]["list"] = {1, 2.5};
       },
       "'list'"},
      {"list with 2^63", [](json& j) { NodeOf(j, 0)["attributes"]["list"] = {kHuge}; }, "'list'"},
      {"list of lists", [](json& j) { NodeOf(j, 0)["attributes"]["list"] = {{1}}; }, "'list'"},
      {"list too long",
       [](json& j) { NodeOf(j, 0)["attributes"]["list"] = std::vector<int>(70000, 1); },
       "'list': 70000 elements"},
      {"text too long",
       [](json& j) { NodeOf(j, 0)["attributes"]["text"] = std::string(5000, 'a'); },
       "'text': 5000 bytes"},
      {"attribute without name", [](json& j) { NodeOf(j, 0)["attributes"][""] = 1; },
       "name of an attribute"},
      {"65 attributes",
       [](json& j) {
         for (int i = 0; i < 65; ++i)
           NodeOf(j, 0)["attributes"][std::string(1, 'a').append(std::to_string(i))] = 1;
       },
       "attributes, at most 64"},
  };
  return cases;
}

// Edits of the header's text that a JSON value cannot express.
struct TextCase {
  const char* what;
  const char* from;
  const char* to;
  const char* place;
};
constexpr TextCase kTextCases[] = {
    {"section twice", "\"config\"", "\"metadata\"", "'metadata' appears twice"},
    {"key twice", "\"dtype\": \"int8\"", "\"dtype\": \"f32\", \"dtype\": \"int8\"",
     "'dtype' appears twice"},
    {"key twice by escape", "\"dtype\": \"int8\"", "\"dtype\": \"int8\", \"dtyp\\u0065\": \"f32\"",
     "'dtype' appears twice"},
    {"comment", "{\"metadata\"", "/* x */ {\"metadata\"", "not valid JSON"},
    {"trailing comma", "]}\n", ",]}\n", "not valid JSON"},
    {"no end", "]}\n", "]\n", "not valid JSON"},
    {"second value", "]}\n", "]} {}\n", "not valid JSON"},
    {"NaN", "\"tenth\": 0.1", "\"tenth\": NaN", "not valid JSON"},
    {"1e400", "\"tenth\": 0.1", "\"tenth\": 1e400", "not valid JSON"},
    {"leading zero", "\"count\": 7", "\"count\": 07", "not valid JSON"},
    {"hexadecimal", "\"count\": 7", "\"count\": 0x7", "not valid JSON"},
    {"invalid UTF-8", "\"sample\"", "\"\xff\xfe\"", "not valid JSON"},
    {"overlong UTF-8", "\"sample\"", "\"\xc0\xaf\"", "not valid JSON"},
    {"surrogate in UTF-8", "\"sample\"", "\"\xed\xa0\x80\"", "not valid JSON"},
    {"lone surrogate", "\"sample\"", "\"\\ud800\"", "not valid JSON"},
    {"raw newline in text", "\"sample\"", "\"sam\nple\"", "not valid JSON"},
    {"byte order mark", "{\"metadata\"", "\xef\xbb\xbf{\"metadata\"", "byte order mark"},
};

TEST_CASE("edits of the header that keep it well-formed") {
  const json good = json::parse(HeaderTextOf(GoodFile()));
  REQUIRE(Refusal(WithHeaderText(GoodFile(), good.dump())).empty());
  for (const auto* cases : {&SectionCases(), &TensorCases(), &GraphCases()}) {
    for (const JsonCase& c : *cases) {
      json edited = good;
      c.edit(edited);
      CheckRefused(c.what, WithHeaderText(GoodFile(), edited.dump()), c.place);
    }
  }
}

TEST_CASE("edits of the header's text") {
  const std::string good = HeaderTextOf(GoodFile());
  for (const TextCase& c : kTextCases) {
    std::string text = good;
    const size_t at = text.rfind(c.from);
    CAPTURE(std::string(c.what));
    REQUIRE(at != std::string::npos);
    text.replace(at, std::strlen(c.from), c.to);
    CheckRefused(c.what, WithHeaderText(GoodFile(), text), c.place);
  }
  const std::string nested(100000, '[');
  CheckRefused("nested lists", WithHeaderText(GoodFile(), nested), "header: JSON nested deeper");
  std::string objects;
  for (int i = 0; i < 50000; ++i) objects += "{\"a\":";
  CheckRefused("nested objects", WithHeaderText(GoodFile(), objects), "header: JSON nested deeper");
  std::string nul = good;
  nul[10] = '\0';
  CheckRefused("NUL byte", WithHeaderText(GoodFile(), nul), "a NUL byte");
  CheckRefused("spaces", WithHeaderText(GoodFile(), "   "), "not valid JSON");
}

TEST_CASE("each field before the header") {
  CheckRefused("magic", WithUint(0, 1, 'G', false), "not a .glint file");
  CheckRefused("magic's end", WithUint(7, 1, '\r', false), "damaged by a transfer in text mode");
  CheckRefused("version 0", WithUint(8, 4, 0, true), "format version 0");
  CheckRefused("version 2", WithUint(8, 4, 2, true),
               "format version 2, this build reads version 1");
  CheckRefused("big-endian version", WithUint(8, 4, 1 << 24, true), "format version 16777216");
  CheckRefused("reserved", WithUint(12, 4, 7, true), "reserved field: expected 0, got 7");
  const uint64_t length = HeaderTextOf(GoodFile()).size();
  for (const uint64_t value : {uint64_t{0}, kHuge, kHuge - 31, kHuge - 4095, uint64_t{1} << 63,
                               (uint64_t{16} << 20) + 1}) {
    CheckRefused("header length", WithUint(16, 8, value, false), "header length: expected 1 to");
  }
  CheckRefused("header length past the end", WithUint(16, 8, 1 << 20, false),
               "truncated: the header");
  CheckRefused("header one shorter", WithUint(16, 8, length - 1, false), "header: its checksum is");
  CheckRefused("header two shorter", WithUint(16, 8, length - 2, true),
               "padding after it is not zero");
  CheckRefused("header one longer", WithUint(16, 8, length + 1, true), "a NUL byte");
  CheckRefused("checksum 0", WithUint(24, 8, 0, false), "header: its checksum is");
  std::string file = GoodFile();
  file[32 + length] = ' ';
  CheckRefused("padding", WithChecksum(file), "header: the padding after it is not zero");
}

TEST_CASE("truncations and additions at every kind of place") {
  const std::string& good = GoodFile();
  std::vector<size_t> sizes = {8192, good.size() - 1, good.size() - 63, good.size() - 64};
  for (size_t i = 0; i <= 64; ++i) sizes.push_back(i);
  for (size_t i = 0; i < good.size(); i += 997) sizes.push_back(i);
  for (const size_t size : sizes) {
    CAPTURE(size);
    const std::string message = Refusal(good.substr(0, size));
    CHECK((message.find("truncated") != std::string::npos ||
           message.find("empty") != std::string::npos));
  }
  CheckRefused("one byte more", good + '\0', "the file goes on to byte");
  CheckRefused("64 bytes more", good + std::string(64, '\0'), "the file goes on to byte");
}

TEST_CASE("padding between tensors and after the last") {
  const auto file = GlintFile::FromMemory(GoodFile().data(), GoodFile().size(), "good");
  for (const char* name : {"layer.bias", "half", "tokenizer.piece_bytes", "tokenizer.piece_ends"}) {
    const Tensor& tensor = *file->Find(name);
    const uint64_t end = file->data_offset() +
                         static_cast<uint64_t>(tensor.data - file->tensors()[0].data) +
                         tensor.bytes;
    std::string bad = GoodFile();
    bad[end] = 1;
    const std::string place = Quoted(name) + ": damaged: the padding after it is not zero";
    CheckRefused(name, bad, place.c_str());
  }
}

TEST_CASE("random edits of the header under a right checksum neither crash nor pass unseen") {
  std::mt19937_64 random(3);
  const std::string good = HeaderTextOf(GoodFile());
  size_t accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % text.size();
      const size_t from = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 20);
          break;
        case 2:
          text.insert(at, good, from % good.size(), random() % 40);
          break;
        default:
          text[at] = "0123456789-,:{}[]\"e."[random() % 20];
      }
    }
    const std::string bytes = WithHeaderText(GoodFile(), text);
    try {
      GlintFile::FromMemory(bytes.data(), bytes.size(), "bad.glint")->Verify();
      ++accepted;  // an edit inside a name or a number of the metadata is a good file
    } catch (const Error& error) {
      REQUIRE(std::string(error.what()).rfind("bad.glint: ", 0) == 0);
    }
  }
  CHECK(accepted < 1500);
}

TEST_CASE("other files say what they are and what to do") {
  CheckRefused("empty", "", "the file is empty");
  CheckRefused("GGUF", "GGUF" + std::string(100, '\0'), "a GGUF file: use glint convert");
  CheckRefused("zip", "PK\x03\x04" + std::string(100, 'a'), "a zip archive");
  CheckRefused("safetensors", std::string("\x20\0\0\0\0\0\0\0{\"a\":", 13), "a safetensors file");
  CheckRefused("git-lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
               "git lfs pull");
  CheckRefused("web page", "<!DOCTYPE html><html>", "a web page");
  CheckRefused("gzip", "\x1f\x8b\x08 etc", "a gzip archive");
  CheckRefused("text", "hello, this is just a text of some length", "got 'hello, t'");
  CheckRefused("control", std::string("\x1b[2J\x07xyz and so on"), "got '\\x1b[2J\\x07xyz'");
}

std::string OpenMessage(const std::string& path) {
  try {
    GlintFile::Open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("only regular files are opened, and nothing blocks") {
  const std::string dir = TempDir();
  CHECK(OpenMessage(dir).find(dir + ": is a folder") == 0);
  CHECK(OpenMessage(dir + "/absent").find("absent: cannot open: No such file") !=
        std::string::npos);
  CHECK(OpenMessage("").find("cannot open") != std::string::npos);
  for (const std::string& path : test::NoRegularFiles(dir, "pipe")) {
    CHECK(OpenMessage(path).find("is not a regular file") != std::string::npos);
  }
}

}  // namespace
}  // namespace glint
