// Invariant 3: the same file and ids give the same bits on every target. Each target of this build that
// the CPU can run is compared with tests/data/tiny_bits.txt, which holds a hash of the encoded file and
// one of the logits for every type; so builds for different processors are compared with each other.
// Lines that begin with "llama" are of a LLaMA-type model with made-up weights, the others of the tiny
// ChatGLM. When a model itself changes, the lines that this test prints become the new record.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

#include "formats/checksum.h"
#include "formats/convert/convert.h"
#include "lib/sampler.h"
#include "lib/session.h"
#include "lib/text/chat.h"
#include "simd/cpu.h"
#include "tests/convert_samples.h"
#include "tests/llama_samples.h"

using namespace glint;

namespace {

// Of every byte of the file but the header, whose metadata changes with the version.
std::string DataHash(const std::string& path) {
  const std::unique_ptr<GlintFile> file = GlintFile::Open(path);
  const std::string bytes = ReadFile(path);
  return ChecksumText(ChecksumOf(bytes.data() + file->data_offset(), bytes.size() - file->data_offset()));
}

// Of the logits of a prompt and of 12 greedy tokens after it.
std::string LogitsHash(const Model& model, std::span<const int32_t> ids, size_t threads,
                       size_t chunk, KvType kv) {
  SessionOptions options;
  options.threads = threads;
  options.chunk = chunk;
  options.kv = kv;
  Session session(model, options);
  std::vector<float> all;
  const auto collect = [&](size_t, size_t n, const float* rows, size_t stride) {
    for (size_t i = 0; i < n; ++i) {
      all.insert(all.end(), rows + i * stride, rows + i * stride + model.n_outputs());
    }
  };
  const OutputSink sink(collect);
  REQUIRE(session.Start(ids, &sink) == Status::kOk);
  for (int i = 0; i < 12; ++i) {
    REQUIRE(session.Append(Sampler::Greedy(session.logits())) == Status::kOk);
    all.insert(all.end(), session.logits().begin(), session.logits().end());
  }
  return ChecksumText(ChecksumOf(all.data(), all.size() * sizeof(float)));
}

// The same for a prompt of some past turns.
std::string LogitsHash(const Model& model, size_t threads, size_t chunk, size_t n_turns = 1,
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

struct Expected {
  std::string file, logits;
};

std::map<std::string, Expected> ReadExpected() {
  std::istringstream lines(ReadFile(SourceDir() + "/tests/data/tiny_bits.txt"));
  std::map<std::string, Expected> expected;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string type;
    Expected row;
    if (words >> type >> row.file >> row.logits) expected[type] = row;
  }
  return expected;
}

}  // namespace

TEST_CASE("every target, thread count and chunk gives the bits on record") {
  const std::map<std::string, Expected> expected = ReadExpected();
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
    for (const KernelTable* const* table = kKernelTables; *table; ++table) {
      const std::string isa = (*table)->isa;
      if (((*table)->requires_ & ~CpuFeatures()) != 0) continue;
      CAPTURE(isa);
      setenv("GLINT_ISA", isa.c_str(), 1);
      logits_hash = LogitsHash(*model, 2, 512);
      CHECK(logits_hash == want.logits);
      ran += " " + isa;
    }
    unsetenv("GLINT_ISA");
    CHECK(LogitsHash(*model, 1, 1) == want.logits);
    CHECK(LogitsHash(*model, 3, 7) == want.logits);
    std::printf("%s %s %s\n", name.c_str(), file_hash.c_str(), logits_hash.c_str());
  }
  std::printf("targets compared:%s\n", ran.c_str());
}

TEST_CASE("prompts of more than one block of keys give the bits on record, with each cache") {
  const std::map<std::string, Expected> expected = ReadExpected();
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
    for (const KernelTable* const* table = kKernelTables; *table; ++table) {
      const std::string isa = (*table)->isa;
      if (((*table)->requires_ & ~CpuFeatures()) != 0) continue;
      CAPTURE(isa);
      setenv("GLINT_ISA", isa.c_str(), 1);
      CHECK(LogitsHash(*model, 2, 512, kTurns, kv) == want);
    }
    unsetenv("GLINT_ISA");
    const std::string hash = LogitsHash(*model, 3, 7, kTurns, kv);
    CHECK(hash == want);
    std::printf("%s - %s\n", name.c_str(), hash.c_str());
  }
}

TEST_CASE("a LLaMA-type model gives the bits on record: RMSNorm, SiLU, shared heads, causal order") {
  const std::map<std::string, Expected> expected = ReadExpected();
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
    for (const KernelTable* const* table = kKernelTables; *table; ++table) {
      const std::string isa = (*table)->isa;
      if (((*table)->requires_ & ~CpuFeatures()) != 0) continue;
      CAPTURE(isa);
      setenv("GLINT_ISA", isa.c_str(), 1);
      CHECK(LogitsHash(*model, ids, 2, 512, row.kv) == want.logits);
    }
    unsetenv("GLINT_ISA");
    const std::string hash = LogitsHash(*model, ids, 3, 7, row.kv);
    CHECK(hash == want.logits);
    std::printf("%s %s %s\n", name.c_str(), file_hash.c_str(), hash.c_str());
  }
}
