// Invariant 3 for what the architectures add to a LLaMA: pairs of neighbours, parts of heads, norms
// of heads, windows, caps, scaled embeddings, experts. Each target of this build that the CPU can
// run, other threads and chunks are compared with tests/data/architecture_bits.txt. When a sample
// changes, the lines that this test prints become the new record.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/bits.h"
#include "tests/convert_samples.h"
#include "tests/model_samples.h"

using namespace glint;
using namespace glint::test;

TEST_CASE("every target, thread count and chunk gives the bits on record") {
  const std::map<std::string, Expected> expected = ReadExpected("architecture_bits.txt");
  struct Row {
    const char* sample;
    DType type;
    KvType kv;
  };
  for (const Row row :
       {Row{"gemma2", DType::kInt4, KvType::kF16}, Row{"gemma2", DType::kF32, KvType::kInt8},
        Row{"glm4", DType::kInt4, KvType::kF16}, Row{"phi3-partial", DType::kInt4x, KvType::kF32},
        Row{"qwen3", DType::kInt8, KvType::kF16}, Row{"mistral", DType::kInt4, KvType::kInt8},
        Row{"qwen2_moe", DType::kInt4, KvType::kF16},
        Row{"mixtral-window", DType::kInt8, KvType::kF32}}) {
    const std::string name =
        std::string(row.sample) + "-" + Info(row.type).name + "-" + Name(row.kv);
    CAPTURE(name);
    const auto found = expected.find(name);
    const Expected want = found == expected.end() ? Expected{} : found->second;
    const SampleModel sample = SampleOf(row.sample);
    const std::unique_ptr<Model> model = ConvertAndOpen(WriteFolder(sample), row.type, false);
    const std::string file_hash = DataHash(model->file().path());
    CHECK(file_hash == want.file);
    const std::vector<int32_t> ids = SampleIds(sample, 60);
    ForEachTarget(
        [&](const std::string&) { CHECK(LogitsHash(*model, ids, 2, 512, row.kv) == want.logits); });
    CHECK(LogitsHash(*model, ids, 1, 1, row.kv) == want.logits);
    const std::string hash = LogitsHash(*model, ids, 3, 7, row.kv);
    CHECK(hash == want.logits);
    std::printf("%s %s %s\n", name.c_str(), file_hash.c_str(), hash.c_str());
  }
}
