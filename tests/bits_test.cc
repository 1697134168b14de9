// Invariant 3: the same file and ids give the same bits on every target. Each target of this build that
// the CPU can run is compared with tests/data/tiny_bits.txt, which holds a hash of the encoded file and
// one of the logits for every type; so builds for different processors are compared with each other.
// Lines that begin with "llama" are of a LLaMA-type model with made-up weights, the others of the tiny
// ChatGLM. When a model itself changes, the lines that this test prints become the new record.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>

#include "formats/convert/convert.h"
#include "lib/text/chat.h"
#include "tests/bits.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

using namespace glint;
using namespace glint::test;

namespace {

// LogitsHash of a prompt of some past turns.
std::string ChatHash(const Model& model, size_t threads, size_t chunk, size_t n_turns = 1,
                     KvType kv = KvType::kF16) {
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < n_turns; ++i) {
    messages.push_back({"user", "hello"});
    messages.push_back({"assistant", "\u4f60\u597d"});
  }
  messages.push_back({"user", "what is 7 plus 5?"});
  const std::vector<int32_t> ids = model.chat()->Build(messages).ids;
  REQUIRE((n_turns == 1 || ids.size() > kKeyBlock));
  return LogitsHash(model, ids, threads, chunk, kv);
}

// Under emulation, fitting a table to each matrix takes a minute for a model: one type is enough.
bool IsSearched(DType type) { return !Info(type).has_table || type == DType::kInt4; }

}  // namespace

TEST_CASE("every target, thread count and chunk gives the bits on record") {
  const std::map<std::string, Expected> expected = ReadExpected("tiny_bits.txt");
  const DType kTypes[] = {DType::kF32,  DType::kF16,   DType::kBF16,
                          DType::kInt8, DType::kInt4,  DType::kInt4x,
                          DType::kInt3, DType::kInt6};
  std::string ran;
  for (const DType type : kTypes) {
    const std::string name = Info(type).name;
    CAPTURE(name);
    const auto row = expected.find(name);
    const Expected want = row == expected.end() ? Expected{} : row->second;
    ConvertOptions options;
    options.source = SourceDir() + "/examples/tiny/model";
    options.write.output = TempDir() + "/tiny.glint";
    options.has_type = true;
    options.type = type;
    options.search = IsSearched(type);
    Convert(options);
    const std::string file_hash = DataHash(options.write.output);
    CHECK(file_hash == want.file);
    const std::unique_ptr<Model> model = Model::Open(options.write.output);
    ran.clear();
    std::string logits_hash;
    ForEachTarget([&](const std::string& isa) {
      logits_hash = ChatHash(*model, 2, 512);
      CHECK(logits_hash == want.logits);
      ran += " " + isa;
    });
    CHECK(ChatHash(*model, 1, 1) == want.logits);
    CHECK(ChatHash(*model, 3, 7) == want.logits);
    std::printf("%s %s %s\n", name.c_str(), file_hash.c_str(), logits_hash.c_str());
  }
  std::printf("targets compared:%s\n", ran.c_str());
}

TEST_CASE("prompts of more than one block of keys give the bits on record, with each cache") {
  const std::map<std::string, Expected> expected = ReadExpected("tiny_bits.txt");
  ConvertOptions options;
  options.source = SourceDir() + "/examples/tiny/model";
  options.write.output = TempDir() + "/tiny.glint";
  options.has_type = true;
  options.type = DType::kInt4;
  options.search = false;
  Convert(options);
  const std::unique_ptr<Model> model = Model::Open(options.write.output);
  for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kInt8}) {
    const std::string name = std::string("int4-long-") + Name(kv);
    CAPTURE(name);
    const auto row = expected.find(name);
    const std::string want = row == expected.end() ? "" : row->second.logits;
    constexpr size_t kTurns = 24;
    ForEachTarget([&](const std::string&) {
      CHECK(ChatHash(*model, 2, 512, kTurns, kv) == want);
    });
    const std::string hash = ChatHash(*model, 3, 7, kTurns, kv);
    CHECK(hash == want);
    std::printf("%s - %s\n", name.c_str(), hash.c_str());
  }
}

TEST_CASE("a LLaMA-type model gives the bits on record: RMSNorm, SiLU, shared heads, causal order") {
  const std::map<std::string, Expected> expected = ReadExpected("tiny_bits.txt");
  test::LlamaShape shape;
  shape.n_layers = 3;
  shape.vocab_size = 384;
  const std::string folder = test::LlamaFolder(shape);
  std::vector<int32_t> ids = {1};
  while (ids.size() < kKeyBlock + 34) {
    ids.push_back(static_cast<int32_t>(ids.size() * ids.size() * 7 % shape.vocab_size));
  }
  struct Row {
    DType type;
    KvType kv;
  };
  for (const Row row : {Row{DType::kF32, KvType::kF32}, Row{DType::kInt8, KvType::kF16},
                        Row{DType::kInt4, KvType::kF16}, Row{DType::kInt4, KvType::kInt8},
                        Row{DType::kInt4x, KvType::kF16}}) {
    const std::string name =
        std::string("llama-") + Info(row.type).name + "-" + glint::Name(row.kv);
    CAPTURE(name);
    const auto found = expected.find(name);
    const Expected want = found == expected.end() ? Expected{} : found->second;
    const std::unique_ptr<Model> model = test::ConvertAndOpen(folder, row.type, false);
    const std::string file_hash = DataHash(model->file().path());
    CHECK(file_hash == want.file);
    ForEachTarget([&](const std::string&) {
      CHECK(LogitsHash(*model, ids, 2, 512, row.kv) == want.logits);
    });
    const std::string hash = LogitsHash(*model, ids, 3, 7, row.kv);
    CHECK(hash == want.logits);
    std::printf("%s %s %s\n", name.c_str(), file_hash.c_str(), hash.c_str());
  }
}
