#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "formats/glint_file.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "formats/glint_writer.h"
#include "lib/error.h"
#include "tests/glint_samples.h"
#include "tests/system.h"
#include "tests/test_util.h"

namespace glint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string Bytes(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.bytes};
}

void CheckSameAsSample(const GlintFile& file) {
  const Sample sample = SampleModel();
  CHECK(*file.header().metadata == *sample.header.metadata);
  CHECK(*file.header().config == *sample.header.config);
  CHECK(*file.header().tokenizer == *sample.header.tokenizer);
  CHECK(*file.header().prompt == *sample.header.prompt);
  CHECK(file.data_offset() % 4096 == 0);
  CHECK(file.bytes() % 64 == 0);
  REQUIRE(file.tensors().size() == sample.plan.size());
  for (size_t i = 0; i < sample.plan.size(); ++i) {
    const TensorPlan& plan = sample.plan[i];
    const Tensor& tensor = file.tensors()[i];
    CAPTURE(plan.name);
    CHECK(tensor.name == plan.name);
    CHECK(file.Find(plan.name) == &tensor);
    CHECK(file.TiedTo(i) == plan.tied_to);
    CHECK(reinterpret_cast<uintptr_t>(tensor.data) % 64 == 0);
    if (!plan.tied_to.empty()) {
      const Tensor* source = file.Find(plan.tied_to);
      REQUIRE(source);
      CHECK(tensor.data == source->data);
      CHECK(tensor.shape == source->shape);
      CHECK(tensor.dtype == source->dtype);
      CHECK(tensor.bytes == source->bytes);
      continue;
    }
    CHECK(tensor.dtype == plan.dtype);
    CHECK(tensor.offset == plan.offset);
    CHECK(tensor.shape == plan.shape);
    CHECK(Bytes(tensor) == sample.data[i]);
  }
}

void CheckSameGraph(const Graph& a, const Graph& b) {
  CHECK(a.name == b.name);
  CHECK(a.inputs == b.inputs);
  CHECK(a.outputs == b.outputs);
  REQUIRE(a.nodes.size() == b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    CHECK(a.nodes[i].op == b.nodes[i].op);
    CHECK(a.nodes[i].inputs == b.nodes[i].inputs);
    CHECK(a.nodes[i].outputs == b.nodes[i].outputs);
    CHECK(a.nodes[i].attributes == b.nodes[i].attributes);
  }
}

TEST_CASE("a file gives back what was written, from a map, a copy and memory") {
  const std::string path = TempDir() + "/sample.glint";
  WriteSample(SampleModel(), path);
  for (const LoadMode mode : {LoadMode::kMap, LoadMode::kCopy}) {
    const auto file = GlintFile::Open(path, mode);
    CHECK(file->path() == path);
    CHECK(file->bytes() == fs::file_size(path));
    CheckSameAsSample(*file);
    CHECK(file->Unchanged());
    double last = -1;
    file->Verify([&last](double done) {
      CHECK(done >= last);
      last = done;
    });
    CHECK(last == 1.0);
    CHECK(file->Find("nothing") == nullptr);
    CHECK(file->Find("") == nullptr);
  }
  const std::string bytes = ReadFile(path);
  std::vector<char> memory(bytes.size() + 128);
  for (const size_t shift : {size_t{0}, size_t{1}, size_t{4}}) {
    char* start = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) + shift;
    std::memcpy(start, bytes.data(), bytes.size());
    const auto file = GlintFile::FromMemory(start, bytes.size(), "built-in");
    CHECK(file->path() == std::string("built-in"));
    CheckSameAsSample(*file);
    file->Verify();
    CHECK(file->Unchanged());
    // Aligned memory is used where it lies.
    const bool is_inside =
        reinterpret_cast<const char*>(file->tensors()[0].data) > start &&
        reinterpret_cast<const char*>(file->tensors()[0].data) < start + bytes.size();
    CHECK(is_inside == (shift == 0));
  }
}

TEST_CASE("graphs and attributes of every kind come back exactly") {
  const std::string path = TempDir() + "/sample.glint";
  const Sample sample = SampleModel();
  WriteSample(sample, path);
  const auto file = GlintFile::Open(path);
  REQUIRE(file->header().graphs.size() == 2);
  for (const Graph& graph : sample.header.graphs) {
    REQUIRE(file->FindGraph(graph.name));
    CheckSameGraph(*file->FindGraph(graph.name), graph);
  }
  CHECK(file->FindGraph("decoder") == nullptr);
  // Zero keeps its sign, which == does not see.
  const auto& attributes = file->FindGraph("main")->nodes[0].attributes;
  CHECK(std::signbit(std::get<double>(attributes.at("minus_zero"))));
  CHECK(std::holds_alternative<double>(attributes.at("whole")));
  CHECK(std::holds_alternative<int64_t>(attributes.at("count")));
}

TEST_CASE("random doubles keep every bit") {
  std::mt19937_64 random(7);
  Sample sample = SampleModel();
  auto& attributes = sample.header.graphs[0].nodes[0].attributes;
  attributes.clear();
  for (int i = 0; i < 60; ++i) {
    double value;
    do {
      const uint64_t bits = random();
      std::memcpy(&value, &bits, 8);
    } while (!std::isfinite(value));
    attributes[std::string("d").append(std::to_string(i))] = value;
  }
  const std::string path = TempDir() + "/doubles.glint";
  WriteSample(sample, path);
  CheckSameGraph(*GlintFile::Open(path)->FindGraph("main"), sample.header.graphs[0]);
}

TEST_CASE("the same model gives the same bytes, whatever the order of the pieces") {
  const std::string dir = TempDir();
  const Sample sample = SampleModel();
  WriteSample(sample, dir + "/a.glint");
  GlintWriter writer(dir + "/b.glint", sample.header, sample.plan, false);
  for (size_t i = sample.plan.size(); i-- > 0;) {
    const std::string& data = sample.data[i];
    for (size_t at = data.size(); at > 0;) {
      const size_t size = std::min<size_t>(at, 37);
      at -= size;
      writer.Write(i, at, data.data() + at, size);
    }
  }
  writer.Finish();
  CHECK(ReadFile(dir + "/a.glint") == ReadFile(dir + "/b.glint"));
}

TEST_CASE("a header without tokenizer, graphs and tensors is a file too") {
  const std::string path = TempDir() + "/empty.glint";
  GlintWriter writer(path, ModelHeader(), {}, false);
  CHECK(writer.FileSize() == 4096);
  writer.Finish();
  const auto file = GlintFile::Open(path);
  CHECK(file->header().tokenizer == nullptr);
  CHECK(file->tensors().empty());
  CHECK(file->bytes() == 4096);
  file->Verify();
  GlintFile::Open(path, LoadMode::kCopy)->Verify();
  const ModelHeader copy(file->header());
  CHECK(*copy.metadata == json::object());
}

TEST_CASE("damage to a tensor is found and named, and its neighbours are not blamed") {
  const std::string path = TempDir() + "/sample.glint";
  WriteSample(SampleModel(), path);
  const std::string good = ReadFile(path);
  const auto original = GlintFile::Open(path);
  const uint64_t data_offset = original->data_offset();
  for (size_t i = 0; i < original->tensors().size(); ++i) {
    if (!original->TiedTo(i).empty()) continue;
    const Tensor& tensor = original->tensors()[i];
    const uint64_t begin = static_cast<uint64_t>(tensor.data - original->tensors()[0].data);
    std::string bad = good;
    bad[data_offset + begin + tensor.bytes / 2] ^= 1;
    const auto file = GlintFile::FromMemory(bad.data(), bad.size(), "bad.glint");
    const std::string place = std::string("bad.glint: tensor ").append(Quoted(tensor.name));
    CHECK_THROWS_WITH_AS(file->Verify(), doctest::Contains(place.c_str()), Error);
  }
}

TEST_CASE("every flipped bit is found when the file is opened or verified") {
  const std::string path = TempDir() + "/sample.glint";
  WriteSample(SampleModel(), path);
  const std::string good = ReadFile(path);
  std::mt19937_64 random(11);
  size_t at_open = 0, at_verify = 0, missed = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string bad = good;
    // Half of them in the head, which is the smaller part.
    const size_t range = i % 2 ? bad.size() : 8192;
    const size_t at = random() % range;
    bad[at] = static_cast<char>(bad[at] ^ 1 << random() % 8);
    try {
      const auto file = GlintFile::FromMemory(bad.data(), bad.size(), "bad.glint");
      try {
        file->Verify();
        ++missed;
      } catch (const Error& error) {
        ++at_verify;
      }
    } catch (const Error&) {
      ++at_open;
    }
  }
  CHECK(missed == 0);
  CHECK(at_open > 2000);
  CHECK(at_verify > 500);
}

TEST_CASE("a changed file is noticed under a map and does not matter to a copy") {
  const std::string path = TempDir() + "/sample.glint";
  WriteSample(SampleModel(), path);
  const std::string good = ReadFile(path);
  const auto mapped = GlintFile::Open(path);
  const auto copied = GlintFile::Open(path, LoadMode::kCopy);
  CHECK(mapped->Unchanged());
#if defined(_WIN32)
  // Nobody can cut a file that is mapped.
  CHECK_THROWS(fs::resize_file(path, good.size() - 64));
  CHECK(mapped->Unchanged());
  return;
#endif
  fs::resize_file(path, good.size() - 64);
  CHECK_FALSE(mapped->Unchanged());
  CHECK_THROWS_WITH_AS(mapped->Verify(), doctest::Contains("changed"), Error);
  CHECK(copied->Unchanged());
  copied->Verify();

  WriteFile(path, good);
  const auto again = GlintFile::Open(path);
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(5));
  CHECK_FALSE(again->Unchanged());

  // A rename puts another file under the name; the one that is open stays as it was.
  const auto third = GlintFile::Open(path);
  WriteFile(path + ".new", "something else");
  fs::rename(path + ".new", path);
  CHECK(third->Unchanged());
  third->Verify();
}

// The example of docs/FORMAT.md 8, written anew.
void WriteDocumentedExample(const std::string& path) {
  ModelHeader header;
  *header.metadata = {{"name", "example"}, {"numerics", 1}};
  *header.config = {{"dim", 3}, {"vocab_size", 2}};
  Graph graph;
  graph.name = "main";
  graph.inputs = {"ids"};
  graph.outputs = {"logits"};
  graph.nodes.push_back({"embedding", {"ids", "words"}, {"x"}, {}});
  graph.nodes.push_back({"add", {"x", "x"}, {"y"}, {{"alpha", 1.0}}});
  graph.nodes.push_back({"linear", {"y", "lm_head", "bias"}, {"logits"}, {}});
  header.graphs.push_back(graph);
  const BlockOffset none = BlockOffset::kNone;
  GlintWriter writer(path, header,
                     {{"words", DType::kF32, none, {2, 3}, ""},
                      {"lm_head", DType::kF32, none, {}, "words"},
                      {"bias", DType::kF32, none, {2}, ""}},
                     false);
  const float words[2][3] = {{1.0f, 2.0f, 3.0f}, {-1.0f, -2.0f, 0.5f}};
  for (uint64_t row = 0; row < 2; ++row) {
    for (uint64_t col = 0; col < 3; ++col)
      writer.Write(0, (col * 16 + row) * 4, &words[row][col], 4);
  }
  const float bias[2] = {0.25f, -0.25f};
  writer.Write(2, 0, bias, sizeof(bias));
  writer.Finish();
}

// The bytes of the one hex dump in `document`: lines of an offset and 16 bytes; a line with an
// asterisk repeats the line before it up to the next offset; the last line is the size alone.
std::string ParseHexDump(const std::string& document) {
  std::istringstream lines(document);
  std::string line, bytes;
  bool repeats = false;
  while (std::getline(lines, line)) {
    repeats = repeats || line == std::string("*");
    if (line.size() < 8 || line.find_first_not_of("0123456789abcdef") < 8) continue;
    const size_t offset = std::stoul(line.substr(0, 8), nullptr, 16);
    while (repeats && bytes.size() < offset) bytes += bytes.substr(bytes.size() - 16);
    repeats = false;
    REQUIRE(bytes.size() == offset);
    std::istringstream words(line.substr(8, line.find('|') - 8));
    for (std::string word; words >> word;)
      bytes += static_cast<char>(std::stoul(word, nullptr, 16));
  }
  return bytes;
}

TEST_CASE("the example of docs/FORMAT.md is a file, and the file that the writer writes") {
  const char* source = std::getenv("GLINT_SOURCE_DIR");
  const std::string document = ReadFile(std::string(source ? source : ".") + "/docs/FORMAT.md");
  const std::string dumped = ParseHexDump(document);
  const std::string dir = TempDir();
  WriteFile(dir + "/dumped.glint", dumped);
  const auto file = GlintFile::Open(dir + "/dumped.glint");
  file->Verify();
  REQUIRE(file->Find("words"));
  CHECK(file->Find("lm_head")->data == file->Find("words")->data);
  const MatrixView words = ViewOf(*file->Find("words"));
  float row[3];
  DecodeRow(words, 1, row);
  CHECK(row[0] == -1.0f);
  CHECK(row[1] == -2.0f);
  CHECK(row[2] == 0.5f);
  CHECK(file->Find("bias")->As<float>()[0] == 0.25f);
  CHECK(std::get<double>(file->FindGraph("main")->nodes[1].attributes.at("alpha")) == 1.0);
  WriteDocumentedExample(dir + "/written.glint");
  CHECK(ReadFile(dir + "/written.glint") == dumped);
}

TEST_CASE("a file of 5 GiB opens in milliseconds, with a tensor past 4 GiB") {
  // A sparse file of 5 GiB: one tensor of 5 GiB - 64, then a small one.
  const std::string path = TempDir() + "/large.glint";
  const uint64_t large = (uint64_t{5} << 30) - 64;
  ModelHeader header;
  const std::string head =
      SparseHead(header, {{"large", DType::kU8, BlockOffset::kNone, {large}, ""},
                          {"last", DType::kU8, BlockOffset::kNone, {64}, ""}});
  const uint64_t last = head.size() + large;
  {
    std::ofstream out(path, std::ios::binary);
    out << head;
  }
  fs::resize_file(path, last + 64);
  {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(last));
    out << "past four";
  }
  if (test::BytesOnDisk(path) > (uint64_t{1} << 30)) {
    MESSAGE("skipped: no sparse files here");
    return;
  }
  if (sizeof(size_t) == 4) {
    try {
      GlintFile::Open(path);
      FAIL("opened");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("5368713") != std::string::npos);
      CHECK(std::string(error.what()).find("address space") != std::string::npos);
    }
    return;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto file = GlintFile::Open(path);
  const auto end = std::chrono::steady_clock::now();
  CHECK(std::chrono::duration<double>(end - begin).count() < 0.05);
  CHECK(Bytes(*file->Find("last")).substr(0, 9) == std::string("past four"));
  CHECK(file->bytes() == last + 64);
}

}  // namespace
}  // namespace glint
